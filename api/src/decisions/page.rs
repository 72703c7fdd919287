//! The customer's page.

mod words;

use oms_domain::message::Locale;
use oms_domain::paper::escape;
use oms_domain::shortage::Decision;
use oms_store::StoredOrder;

use crate::state::ShopFace;
use words::Words;

/// Whose page it is, and in which language.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    shop: &'a ShopFace,
    locale: Locale,
}

impl<'a> Reader<'a> {
    /// The customer of an order; nobody in particular without one.
    pub(super) fn of(shop: &'a ShopFace, order: Option<&StoredOrder>) -> Self {
        Self { shop, locale: order.and_then(|order| order.customer.locale).unwrap_or(shop.locale) }
    }

    /// Asks what to do about the wait.
    pub(super) fn question(self, order: &StoredOrder, token: &str) -> String {
        let words = Words::of(self.locale);
        let name = |sku| order.lines.iter().find(|line| &line.sku == sku).map_or(words.article, |line| line.name.as_str());
        let missing: String = order
            .life
            .waiting
            .iter()
            .map(|line| format!("<li>{} &times; {}</li>\n", line.quantity, escape(name(&line.sku))))
            .collect();
        let deadline = order.life.question.as_ref().map(|question| {
            let until = format!("<strong>{}</strong>", escape(&(self.shop.date)(question.until, self.locale)));
            format!("<p>{}</p>\n", words.choice(question.default).default.replace("{}", &until))
        });
        let body = format!(
            "<h1>{waiting}</h1>\n<p>{missing_}</p>\n<ul>\n{missing}</ul>\n{deadline}\
             <form method=\"post\" action=\"/decide/{token}\">\n\
             <fieldset>\n<legend>{question}</legend>\n{buttons}</fieldset>\n</form>",
            waiting = words.waiting,
            missing_ = words.missing,
            deadline = deadline.unwrap_or_default(),
            token = escape(token),
            question = words.question,
            buttons = Decision::ALL.map(|decision| button(words, decision)).concat(),
        );
        self.frame(words.waiting, &body)
    }

    /// Says thanks.
    pub(super) fn decided(self, decision: Decision) -> String {
        let words = Words::of(self.locale);
        self.note(words.thanks, words.choice(decision).told)
    }

    /// Says that there is nothing to decide.
    pub(super) fn over(self) -> String {
        let words = Words::of(self.locale);
        self.note(words.over, words.over_hint)
    }

    /// Says that the link leads nowhere.
    pub(super) fn unknown(self) -> String {
        let words = Words::of(self.locale);
        self.note(words.unknown, words.unknown_hint)
    }

    fn note(self, title: &str, said: &str) -> String {
        self.frame(title, &format!("<h1>{title}</h1>\n<p role=\"status\">{said}</p>"))
    }

    fn frame(self, title: &str, body: &str) -> String {
        let (locale, shop) = (self.locale.as_str(), escape(&self.shop.name));
        format!(
            "<!doctype html>\n<html lang=\"{locale}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} · {shop}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n<header>{shop}</header>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
        )
    }
}

fn button(words: &Words, decision: Decision) -> String {
    let (value, choice) = (decision.as_str(), words.choice(decision));
    format!(
        "<p><button type=\"submit\" name=\"decision\" value=\"{value}\" aria-describedby=\"{value}\">{}</button>\n\
         <span id=\"{value}\">{}</span></p>\n",
        choice.label, choice.hint
    )
}

const STYLE: &str = "body{font:1.125rem/1.5 system-ui,sans-serif;margin:0;color:#1a1a1a;background:#fff}\
header,main{max-width:34rem;margin:0 auto;padding:1.5rem}header{font-weight:600;padding-bottom:0}h1{font-size:1.5rem;line-height:1.25}fieldset{border:0;padding:0;margin:1.5rem 0}\
legend{font-weight:600;padding:0}button{font:inherit;display:block;width:100%;min-height:3rem;padding:.5rem 1rem;margin:0 0 .25rem;\
border:2px solid #0b57d0;border-radius:.5rem;background:#fff;color:#0b57d0;cursor:pointer}button:hover{background:#0b57d0;color:#fff}\
button:focus-visible{outline:3px solid #1a1a1a;outline-offset:2px}span{color:#444;font-size:1rem}\
@media(prefers-color-scheme:dark){body{background:#121212;color:#eee}button{background:#121212;color:#a8c7fa;border-color:#a8c7fa}\
button:hover{background:#a8c7fa;color:#121212}button:focus-visible{outline-color:#eee}span{color:#bbb}}";

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn every_language_says_everything_in_its_own_words() {
        for locale in Locale::ALL {
            let shop =
                ShopFace { name: "<Söhne & Co>".to_owned(), locale, date: Arc::new(|_, locale| format!("in {locale:?}")) };
            let reader = Reader::of(&shop, None);
            let pages = [reader.over(), reader.unknown()].into_iter().chain(Decision::ALL.map(|d| reader.decided(d)));
            for page in pages {
                assert!(page.contains(&format!("<html lang=\"{}\">", locale.as_str())), "{page}");
                assert!(page.contains("<header>&lt;Söhne &amp; Co&gt;</header>"), "{page}");
            }
            for decision in Decision::ALL {
                assert_eq!(Words::of(locale).choice(decision).default.matches("{}").count(), 1);
            }
        }
        assert_ne!(Words::of(Locale::De).waiting, Words::of(Locale::Es).waiting);
    }
}
