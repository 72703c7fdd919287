//! What the customer's page says, in each language.

use oms_domain::message::Locale;
use oms_domain::shortage::Decision;

/// A choice: what its button says, and what follows from it.
pub(super) struct Choice {
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    /// Thanks for it.
    pub(super) told: &'static str,
    /// What is done if nobody answers by `{}`.
    pub(super) default: &'static str,
}

/// The words of a language.
pub(super) struct Words {
    pub(super) waiting: &'static str,
    pub(super) missing: &'static str,
    pub(super) article: &'static str,
    pub(super) question: &'static str,
    pub(super) thanks: &'static str,
    pub(super) over: &'static str,
    pub(super) over_hint: &'static str,
    pub(super) unknown: &'static str,
    pub(super) unknown_hint: &'static str,
    wait: Choice,
    ship: Choice,
    cancel: Choice,
}

impl Words {
    pub(super) fn of(locale: Locale) -> &'static Self {
        match locale {
            Locale::En => &EN,
            Locale::De => &DE,
            Locale::Es => &ES,
        }
    }

    pub(super) fn choice(&self, decision: Decision) -> &Choice {
        match decision {
            Decision::Wait => &self.wait,
            Decision::ShipAvailable => &self.ship,
            Decision::Cancel => &self.cancel,
        }
    }
}

const EN: Words = Words {
    waiting: "Your order is waiting for goods",
    missing: "This is not in stock yet:",
    article: "an article",
    question: "What shall we do?",
    thanks: "Thank you",
    over: "This is already decided",
    over_hint: "There is nothing to choose for this order now. If you got a newer message, use the link in it.",
    unknown: "This link is not known",
    unknown_hint: "It may be cut off. Please take the link of the newest message again.",
    wait: Choice {
        label: "Keep waiting",
        hint: "We send everything as soon as it is there.",
        told: "We keep waiting, and send everything as soon as it is there.",
        default: "If we do not hear from you by {}, we go on waiting.",
    },
    ship: Choice {
        label: "Send what is there",
        hint: "The rest is dropped, and you do not pay for it.",
        told: "We send what is there and drop the rest. You do not pay for it.",
        default: "If we do not hear from you by {}, we send what is there and drop the rest.",
    },
    cancel: Choice {
        label: "Cancel",
        hint: "What has not been sent is dropped, and you do not pay for it.",
        told: "We drop what has not been sent. You do not pay for it.",
        default: "If we do not hear from you by {}, we cancel what has not been sent.",
    },
};

const DE: Words = Words {
    waiting: "Ihre Bestellung wartet auf Ware",
    missing: "Noch nicht auf Lager:",
    article: "ein Artikel",
    question: "Wie soll es weitergehen?",
    thanks: "Vielen Dank",
    over: "Das ist bereits entschieden",
    over_hint: "Bei dieser Bestellung gibt es gerade nichts zu entscheiden. Falls Sie eine neuere Nachricht haben, nutzen Sie bitte deren Link.",
    unknown: "Diesen Link gibt es nicht",
    unknown_hint: "Vielleicht ist er abgeschnitten. Bitte nutzen Sie noch einmal den Link aus der neuesten Nachricht.",
    wait: Choice {
        label: "Länger warten",
        hint: "Wir senden alles, sobald es da ist.",
        told: "Wir warten weiter und senden alles, sobald es da ist.",
        default: "Ohne Ihre Antwort bis {} warten wir weiter.",
    },
    ship: Choice {
        label: "Senden, was da ist",
        hint: "Der Rest entfällt und wird nicht berechnet.",
        told: "Wir senden, was da ist. Der Rest entfällt und wird nicht berechnet.",
        default: "Ohne Ihre Antwort bis {} senden wir, was da ist, und der Rest entfällt.",
    },
    cancel: Choice {
        label: "Stornieren",
        hint: "Was noch nicht versandt ist, entfällt und wird nicht berechnet.",
        told: "Was noch nicht versandt ist, entfällt und wird nicht berechnet.",
        default: "Ohne Ihre Antwort bis {} stornieren wir, was noch nicht versandt ist.",
    },
};

const ES: Words = Words {
    waiting: "Su pedido espera mercancía",
    missing: "Todavía no está disponible:",
    article: "un artículo",
    question: "¿Qué hacemos?",
    thanks: "Gracias",
    over: "Ya está decidido",
    over_hint: "Ahora no hay nada que elegir para este pedido. Si ha recibido un mensaje más reciente, use su enlace.",
    unknown: "Este enlace no existe",
    unknown_hint: "Puede que esté cortado. Use otra vez, por favor, el enlace del mensaje más reciente.",
    wait: Choice {
        label: "Seguir esperando",
        hint: "Enviamos todo en cuanto llegue.",
        told: "Seguimos esperando y enviamos todo en cuanto llegue.",
        default: "Si no recibimos respuesta antes del {}, seguiremos esperando.",
    },
    ship: Choice {
        label: "Enviar lo que hay",
        hint: "El resto se anula y no se le cobra.",
        told: "Enviamos lo que hay. El resto se anula y no se le cobra.",
        default: "Si no recibimos respuesta antes del {}, enviaremos lo que hay y anularemos el resto.",
    },
    cancel: Choice {
        label: "Cancelar",
        hint: "Lo que no se haya enviado se anula y no se le cobra.",
        told: "Lo que no se haya enviado se anula y no se le cobra.",
        default: "Si no recibimos respuesta antes del {}, cancelaremos lo que no se haya enviado.",
    },
};
