//! Labels of the sandbox carrier: what a printer would get, so that the path of a real one is exercised. Drawn as SVG.

use oms_domain::ids::Location;
use oms_domain::paper;
use oms_domain::stock::site::SiteAddress;
use std::fmt::Write;

use super::{BookRequest, Label, Route};

/// Code 128: the widths of bars and spaces of symbols 0 to 105, in modules.
const SYMBOLS: &str = "212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 122132 122231 113222 \
    123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 321221 312212 322112 322211 212123 212321 \
    232121 111323 131123 131321 112313 132113 132311 211313 231113 231311 112133 112331 132131 113123 113321 133121 \
    313121 211331 231131 213113 213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 \
    111422 121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111 241112 134111 \
    111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121 412121 111143 111341 131141 114113 \
    114311 411113 411311 113141 114131 311141 411131 211412 211214 211232";
/// The symbol at the end has one bar more.
const STOP: &str = "2331112";
/// Starts a text in alphabet B: printable ASCII.
const START_B: usize = 104;
/// The room of the address on a label, and the sizes that it is tried in.
const ADDRESS_ROOM: (u32, u32) = (352, 216);
const SIZES: [u32; 7] = [22, 18, 15, 12, 10, 8, 6];
/// A symbol is as wide as this many modules; the stop two more.
const MODULES: usize = 11;

/// The widths of bars and spaces, a bar first, of a text in Code 128 B. `None` for a text with other than printable ASCII.
fn code128(text: &str) -> Option<String> {
    let values: Option<Vec<usize>> = text.bytes().map(|b| (b' '..=b'~').contains(&b).then(|| usize::from(b - b' '))).collect();
    let values = values?;
    let sum: usize = values.iter().enumerate().map(|(at, value)| (at + 1) * value).sum();
    let check = (START_B + sum) % 103;
    let symbols: Vec<&str> = SYMBOLS.split_ascii_whitespace().collect();
    let drawn = std::iter::once(START_B).chain(values).chain([check]).map(|value| symbols.get(value).copied());
    drawn.chain([Some(STOP)]).collect()
}

/// The bars of a text, `width` wide, as rectangles.
fn bars(text: &str, (left, top): (f64, f64), (width, height): (f64, f64)) -> String {
    let Some(widths) = code128(text) else { return String::new() };
    let module = width / ((text.len() + 3) * MODULES + 2) as f64;
    let mut drawn = String::new();
    let mut x = left;
    for (at, digit) in widths.bytes().enumerate() {
        let wide = f64::from(digit - b'0') * module;
        if at % 2 == 0 {
            let _ = write!(drawn, "<rect x=\"{x:.3}\" y=\"{top}\" width=\"{wide:.3}\" height=\"{height}\"/>");
        }
        x += wide;
    }
    drawn
}

/// The sender in one line, and the lines of the addressee.
fn ends(route: &Route) -> (String, Vec<String>) {
    match route {
        Route::Out { from, to } => (from.to_string(), paper::address(to)),
        Route::Back { from, to, address } => {
            let sender = format!("{}, {} {}", from.name, from.postal_code, from.city);
            (sender, place(to, address.as_ref()))
        }
    }
}

/// A place of the shop's, as far as its address is known.
fn place(location: &Location, address: Option<&SiteAddress>) -> Vec<String> {
    let mut lines = vec![format!("Returns, {location}")];
    let Some(at) = address else { return lines };
    let city = at.city.as_ref().map(|c| format!(" {c}")).unwrap_or_default();
    let region = at.region.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
    lines.extend([&at.line1, &at.line2].into_iter().flatten().map(ToString::to_string));
    lines.push(format!("{}{city}{region}", at.postal_code));
    lines.push(at.country.to_string());
    lines
}

/// The label of a parcel: 100 by 150 mm.
pub(super) fn draw(carrier: &str, tracking_number: &str, request: &BookRequest) -> Label {
    let mut text = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100mm\" height=\"150mm\" viewBox=\"0 0 400 600\" \
         font-family=\"Helvetica, Arial, sans-serif\">\n<rect width=\"400\" height=\"600\" fill=\"#fff\"/>\n\
         <rect x=\"8\" y=\"8\" width=\"384\" height=\"584\" fill=\"none\" stroke=\"#000\" stroke-width=\"2\"/>\n",
    );
    let mut say = |x: u32, y: u32, size: u32, weight: &str, anchor: &str, said: &str| {
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" font-weight=\"{weight}\" text-anchor=\"{anchor}\">{}</text>",
            paper::escape(said)
        );
    };
    say(24, 48, 26, "bold", "start", carrier);
    say(376, 48, 14, "normal", "end", "NOT A REAL PARCEL");
    let (sender, addressee) = ends(&request.route);
    let size = if sender.chars().count() > 44 { 9 } else { 13 };
    say(24, 92, size, "normal", "start", &format!("From {sender}"));
    say(24, 140, 13, "normal", "start", "To");
    let (size, lines) = paper::fit(&addressee, &SIZES, ADDRESS_ROOM);
    let mut y = 148;
    for (paragraph, line) in &lines {
        y += paper::leading(size);
        say(24, y, size, if *paragraph == 0 { "bold" } else { "normal" }, "start", line);
    }
    say(200, 540, 18, "bold", "middle", tracking_number);
    say(200, 572, 12, "normal", "middle", request.shipment_id.as_str());
    let _ = writeln!(text, "<path d=\"M8 66H392M8 110H392M8 370H392\" stroke=\"#000\" stroke-width=\"2\"/>");
    let _ = writeln!(text, "<g>{}</g>\n</svg>", bars(tracking_number, (30.0, 395.0), (340.0, 115.0)));
    Label { media_type: "image/svg+xml".to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oms_domain::customer::{Address, Country, Line};
    use oms_domain::ids::{Location, OrderId, ShipmentId};

    #[test]
    fn symbols_are_those_of_the_standard() {
        let symbols: Vec<&str> = SYMBOLS.split_ascii_whitespace().collect();
        assert_eq!(symbols.len(), 106);
        let mut seen = std::collections::BTreeSet::new();
        for symbol in symbols {
            let widths: Vec<u32> = symbol.bytes().map(|b| u32::from(b - b'0')).collect();
            assert!(widths.len() == 6 && widths.iter().sum::<u32>() == 11, "{symbol}");
            assert_eq!(widths.iter().step_by(2).sum::<u32>() % 2, 0, "the bars of {symbol} are an even number of modules");
            assert!(seen.insert(symbol), "{symbol} twice");
        }
    }

    #[test]
    fn a_known_text_has_its_known_bars() {
        // start B, P J J 1 2 3 C, check 55, stop
        let known = "211214 313121 112133 112133 123221 223211 221132 131321 311321 2331112";
        assert_eq!(code128("PJJ123C").unwrap(), known.replace(' ', ""));
        assert_eq!(code128("ä"), None);
    }

    #[test]
    fn the_longest_address_stays_on_the_label() {
        for letter in ["W", "a ", "名"] {
            let long = Line::parse(letter.repeat(200).chars().take(199).collect::<String>()).unwrap();
            let to = Address {
                name: long.clone(),
                line1: long.clone(),
                line2: Some(long.clone()),
                city: long.clone(),
                region: Some(long.clone()),
                postal_code: long,
                country: Country::parse("DE").unwrap(),
            };
            let (size, lines) = paper::fit(&paper::address(&to), &SIZES, ADDRESS_ROOM);
            assert!(lines.iter().all(|(_, line)| paper::width(line, size) <= ADDRESS_ROOM.0));
            let high = u32::try_from(lines.len()).unwrap() * paper::leading(size);
            assert!(high <= ADDRESS_ROOM.1, "{size} {high}");
        }
    }

    #[test]
    fn a_label_names_the_parcel_and_escapes_the_rest() {
        let line = |text: &str| Line::parse(text).unwrap();
        let berlin = Location::parse("berlin").unwrap();
        let request = BookRequest {
            key: "k".into(),
            shipment_id: ShipmentId::of(&OrderId::from_key("t", "c", "k"), 1),
            route: Route::Out {
                from: berlin.clone(),
                to: Address {
                    name: line("<script>alert(1)</script> & \"Söhne\""),
                    line1: line("Street 1"),
                    line2: Some(line("Back")),
                    city: line("Berlin"),
                    region: None,
                    postal_code: line("10115"),
                    country: Country::parse("DE").unwrap(),
                },
            },
            now: oms_domain::Instant::UNIX_EPOCH,
        };
        let label = draw("sandbox", "SBX0123", &request);
        assert_eq!(label.media_type, "image/svg+xml");
        assert!(!label.text.contains("<script"));
        for said in ["&lt;script&gt;alert(1)&lt;/script&gt;", "&amp;", "&quot;Söhne&quot;"] {
            assert!(label.text.contains(said), "{said}: {}", label.text);
        }
        assert!(label.text.contains("10115 Berlin") && label.text.contains(">SBX0123<"));
        // each symbol has three bars, the stop four
        assert_eq!(label.text.matches("<rect").count(), 2 + (7 + 2) * 3 + 4);

        // back: the same two ends the other way round
        let address = SiteAddress {
            line1: Some(line("Dock 7")),
            line2: None,
            city: Some(line("Potsdam")),
            region: None,
            postal_code: line("14467"),
            country: Country::parse("DE").unwrap(),
        };
        let from = request.route.customer().clone();
        let route = Route::Back { from, to: berlin.clone(), address: Some(address) };
        let label = draw("sandbox", "SBX0123", &BookRequest { route, ..request.clone() });
        let (head, addressee) = label.text.split_once(">To<").unwrap();
        assert!(head.contains("From &lt;script&gt;") && head.contains("10115 Berlin"), "{head}");
        assert!(["Returns, berlin", "Dock 7", "14467 Potsdam"].iter().all(|said| addressee.contains(said)), "{addressee}");
        assert!(!addressee.contains("10115"), "{addressee}");
        let route = Route::Back { from: request.route.customer().clone(), to: berlin, address: None };
        assert!(draw("sandbox", "SBX0123", &BookRequest { route, ..request }).text.contains(">Returns, berlin<"));
    }
}
