//! Text on paper: what labels and slips are set with. No font is at hand here, so letters are as wide as Helvetica's and a little
//! wider, and a paper looks right with any plain font.

use crate::customer::Address;

/// The text as it may stand in XML and HTML.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}

/// How wide a letter is, in thousandths of the font's size.
fn letter(c: char) -> u32 {
    match c {
        ' ' | '.' | ',' | ':' | ';' | '!' | '\'' | '|' | '/' | 'i' | 'j' | 'l' | 'I' | 'f' | 't' | 'r' | '-' | '(' | ')' => 360,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 980,
        'A'..='Z' => 760,
        c if c.is_ascii() => 610,
        c if c < '\u{1100}' => 720,
        _ => 1_050,
    }
}

/// How wide a text is at a font's size, in the unit of the size.
pub fn width(text: &str, size: u32) -> u32 {
    (text.chars().map(letter).sum::<u32>() * size).div_ceil(1_000)
}

/// The text in lines that are at most `room` wide: broken between words, and inside of those that are wider than a line.
pub fn wrap(text: &str, size: u32, room: u32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && width(&format!("{line} {word}"), size) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            if !line.is_empty() && width(&line, size) + (letter(c) * size).div_ceil(1_000) > room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// The distance of two lines.
pub fn leading(size: u32) -> u32 {
    size + size / 3
}

/// Sets paragraphs into a box of `room` (wide, high) in the largest of `sizes` in which all of it fits, else in the last one: the
/// size, and for each line the number of its paragraph.
pub fn fit(paragraphs: &[String], sizes: &[u32], room: (u32, u32)) -> (u32, Vec<(usize, String)>) {
    let set = |size: u32| -> Vec<(usize, String)> {
        let lines = |(n, text): (usize, &String)| wrap(text, size, room.0).into_iter().map(move |line| (n, line));
        paragraphs.iter().enumerate().flat_map(lines).collect()
    };
    let last = sizes.last().copied().unwrap_or(1);
    for size in sizes.iter().copied() {
        let lines = set(size);
        if lines.len() * usize::try_from(leading(size)).unwrap_or(usize::MAX) <= usize::try_from(room.1).unwrap_or(0) {
            return (size, lines);
        }
    }
    (last, set(last))
}

/// An address as it is written on a parcel: name, street, place, country.
pub fn address(to: &Address) -> Vec<String> {
    let region = to.region.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
    let mut lines = vec![to.name.to_string(), to.line1.to_string()];
    lines.extend(to.line2.as_ref().map(ToString::to_string));
    lines.push(format!("{} {}{region}", to.postal_code, to.city));
    lines.push(to.country.to_string());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_customer_writes_becomes_markup() {
        assert_eq!(escape("<b>Zoë & \"O'Neil\"</b>"), "&lt;b&gt;Zoë &amp; &quot;O&#39;Neil&quot;&lt;/b&gt;");
    }

    #[test]
    fn lines_are_broken_between_words_and_nothing_is_lost() {
        assert_eq!(wrap("one two three", 10, 45), ["one two", "three"]);
        assert_eq!(wrap("", 10, 45), Vec::<String>::new());
        for text in ["Donaudampfschifffahrtsgesellschaftskapitän", "WWWW WWWWWWWWWWWWWWW W", "名前がとても長い人の住所", "a b  c"]
        {
            let lines = wrap(text, 12, 60);
            assert!(lines.iter().all(|line| width(line, 12) <= 60), "{lines:?}");
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text));
        }
    }

    #[test]
    fn a_longer_text_gets_smaller_letters() {
        let short = fit(&["Ada".to_owned(), "Berlin".to_owned()], &[20, 12, 8], (200, 60));
        assert_eq!((short.0, short.1.len()), (20, 2));
        let (size, lines) = fit(&["Ada".to_owned(), "a long street ".repeat(6)], &[20, 12, 8], (200, 60));
        assert!(size < 20 && lines.len() > 2 && lines.iter().filter(|(n, _)| *n == 0).count() == 1, "{size} {lines:?}");
        assert_eq!(fit(&["x".repeat(500)], &[20, 8], (50, 10)).0, 8, "what fits nowhere is set as small as it goes");
    }
}
