//! The templates that come with the program. A shop's folder replaces them one by one, by the same relative path.

/// The templates of one locale.
macro_rules! of_locale {
    ($locale:literal, $topics:tt, $texts:tt) => {
        of_locale!(@parts $locale, $topics, $texts, "words.txt")
    };
    (@parts $locale:literal, [$($topic:literal),*], [$($text:literal),*], $words:literal) => {
        &[
            file!($locale, $words),
            $(file!($locale, $topic, ".subject.txt"), file!($locale, $topic, ".txt"), file!($locale, $topic, ".html"),)*
            $(file!($locale, $text, ".sms.txt"),)*
        ]
    };
}

/// One template: its name and its text.
macro_rules! file {
    ($locale:literal, $($part:literal),*) => {
        (concat!($locale, "/", $($part),*), include_str!(concat!("../../templates/", $locale, "/", $($part),*)))
    };
}

macro_rules! locales {
    ($($locale:literal),*) => {
        &[$(of_locale!(
            $locale,
            [
                "confirmed", "shipped", "delivered", "rejected", "cancelled", "backordered", "question", "action_required", "edited",
                "refunded", "return_approved", "payment_failed"
            ],
            ["shipped", "delivered"]
        )),*]
    };
}

const SHARED: &[(&str, &str)] = &[
    ("base.html", include_str!("../../templates/base.html")),
    ("base.txt", include_str!("../../templates/base.txt")),
    ("parts.html", include_str!("../../templates/parts.html")),
    ("parts.txt", include_str!("../../templates/parts.txt")),
];

const LOCALES: &[&[(&str, &str)]] = locales!("en", "de", "es");

/// Every template with its name.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    SHARED.iter().chain(LOCALES.iter().copied().flatten()).copied()
}
