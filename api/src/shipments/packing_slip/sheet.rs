//! How a packing slip is drawn: sheets of A4 in one SVG, one below the other.

use std::fmt::Write;

use oms_domain::message::Locale;
use oms_domain::paper::{address, escape, fit, leading, wrap};
use oms_domain::shipment::Shipment;
use oms_store::StoredOrder;

use crate::state::ShopFace;

/// A sheet, in 96ths of an inch: 210 by 297 mm.
const WIDE: u32 = 794;
const HIGH: u32 = 1_123;
/// Nothing is drawn outside of it: 15 mm, which any printer can print on.
const MARGIN: u32 = 57;
const RIGHT: u32 = WIDE - MARGIN;
/// Where the table begins on the first sheet, and on the others.
const TABLE_TOP: u32 = 310;
const TABLE_TOP_LATER: u32 = MARGIN + 20;
/// Rows end here; below is the sheet's foot.
const TABLE_END: u32 = HIGH - MARGIN - 30;
/// Names of articles begin behind a box to tick.
const NAME_LEFT: u32 = MARGIN + 30;
const NAME_ROOM: u32 = 540;
const NAME_SIZE: u32 = 14;
const SKU_SIZE: u32 = 11;
/// The room of the address, and the sizes that it is tried in.
const ADDRESS_ROOM: (u32, u32) = (350, 150);
const ADDRESS_SIZES: [u32; 6] = [16, 14, 12, 10, 8, 6];
/// The same for order and shipment beside it, and for the shop's name.
const ASIDE: u32 = 450;
const ASIDE_ROOM: (u32, u32) = (RIGHT - ASIDE, 42);
const ASIDE_SIZES: [u32; 4] = [14, 12, 9, 7];

/// The slip's words in a language: title, order, shipment, article, quantity, sheet.
fn words(locale: Locale) -> [&'static str; 6] {
    match locale {
        Locale::En => ["Packing slip", "Order", "Shipment", "Article", "Quantity", "Sheet"],
        Locale::De => ["Lieferschein", "Bestellung", "Sendung", "Artikel", "Menge", "Blatt"],
        Locale::Es => ["Albarán", "Pedido", "Envío", "Artículo", "Cantidad", "Hoja"],
    }
}

/// How a text is set.
#[derive(Clone, Copy)]
struct Hand {
    size: u32,
    bold: bool,
    /// It ends where it is placed, instead of beginning there.
    ends: bool,
    faint: bool,
}

const PLAIN: Hand = Hand { size: NAME_SIZE, bold: false, ends: false, faint: false };
const SMALL: Hand = Hand { size: SKU_SIZE, faint: true, ..PLAIN };

/// What is drawn so far.
struct Drawing(String);

impl Drawing {
    fn say(&mut self, (x, y): (u32, u32), hand: Hand, said: &str) {
        let weight = if hand.bold { " font-weight=\"bold\"" } else { "" };
        let anchor = if hand.ends { " text-anchor=\"end\"" } else { "" };
        let fill = if hand.faint { " fill=\"#555\"" } else { "" };
        let _ = writeln!(
            self.0,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"{weight}{anchor}{fill}>{}</text>",
            hand.size,
            escape(said)
        );
    }

    /// Says paragraphs in a box; the first one in bold if `name` says so.
    fn fill(&mut self, (x, top): (u32, u32), paragraphs: &[String], sizes: &[u32], room: (u32, u32), hand: Hand) {
        let (size, lines) = fit(paragraphs, sizes, room);
        let mut y = top;
        for (paragraph, line) in &lines {
            y += leading(size);
            self.say((x, y), Hand { size, bold: hand.bold && *paragraph == 0, ..hand }, line);
        }
    }

    fn rule(&mut self, y: u32, colour: &str) {
        let _ = writeln!(self.0, "<path d=\"M{MARGIN} {y}H{RIGHT}\" stroke=\"{colour}\"/>");
    }
}

/// One line of the table.
struct Row {
    name: Vec<String>,
    sku: Vec<String>,
    quantity: u32,
}

impl Row {
    fn high(&self) -> u32 {
        let lines = |lines: &[String], size| u32::try_from(lines.len()).unwrap_or(0) * leading(size);
        12 + lines(&self.name, NAME_SIZE) + lines(&self.sku, SKU_SIZE)
    }

    fn draw(&self, on: &mut Drawing, top: u32) {
        let _ =
            writeln!(on.0, "<rect x=\"{MARGIN}\" y=\"{}\" width=\"14\" height=\"14\" fill=\"none\" stroke=\"#000\"/>", top + 8);
        let mut y = top + 2;
        for line in &self.name {
            y += leading(NAME_SIZE);
            on.say((NAME_LEFT, y), PLAIN, line);
        }
        for line in &self.sku {
            y += leading(SKU_SIZE);
            on.say((NAME_LEFT, y), SMALL, line);
        }
        let first = top + 2 + leading(NAME_SIZE);
        on.say((RIGHT, first), Hand { bold: true, ends: true, ..PLAIN }, &self.quantity.to_string());
        on.rule(top + self.high(), "#ccc");
    }
}

fn rows(order: &StoredOrder, shipment: &Shipment) -> Vec<Row> {
    let row = |inside: &oms_domain::stock::Quantity| {
        let name = order.lines.iter().find(|line| line.sku == inside.sku).map_or(inside.sku.as_str(), |line| line.name.as_str());
        Row {
            name: wrap(name, NAME_SIZE, NAME_ROOM),
            sku: wrap(inside.sku.as_str(), SKU_SIZE, NAME_ROOM),
            quantity: inside.quantity,
        }
    };
    shipment.lines.iter().map(row).collect()
}

/// Rows by sheet, each with its distance from the top of the sheet.
fn flow(rows: Vec<Row>) -> Vec<Vec<(u32, Row)>> {
    let mut sheets: Vec<Vec<(u32, Row)>> = vec![Vec::new()];
    let mut y = TABLE_TOP;
    for row in rows {
        if y + row.high() > TABLE_END {
            sheets.push(Vec::new());
            y = TABLE_TOP_LATER;
        }
        let high = row.high();
        if let Some(sheet) = sheets.last_mut() {
            sheet.push((y, row));
        }
        y += high;
    }
    sheets
}

/// The slip of a shipment.
pub(super) fn draw(order: &StoredOrder, shipment: &Shipment, shop: &ShopFace) -> String {
    let locale = order.customer.locale.unwrap_or(shop.locale);
    let [title, of, parcel, article, quantity, sheet] = words(locale);
    let sheets = flow(rows(order, shipment));
    let count = u32::try_from(sheets.len()).unwrap_or(1);
    let mut drawing = Drawing(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xml:lang=\"{}\" width=\"210mm\" height=\"{}mm\" viewBox=\"0 0 {WIDE} {}\" \
         font-family=\"Helvetica, Arial, sans-serif\">\n<title>{title} {}</title>\n\
         <rect width=\"{WIDE}\" height=\"{}\" fill=\"#fff\"/>\n",
        locale.as_str(),
        297 * count,
        HIGH * count,
        escape(shipment.id.as_str()),
        HIGH * count,
    ));
    let reference = order.reference.as_ref().map_or(order.id.as_str(), |r| r.as_str());
    drawing.say((MARGIN, 90), Hand { size: 26, bold: true, ..PLAIN }, title);
    drawing.fill((RIGHT, 50), std::slice::from_ref(&shop.name), &[16, 12, 9, 7], ASIDE_ROOM, Hand { ends: true, ..PLAIN });
    drawing.fill((MARGIN, 120), &address(&order.ship_to), &ADDRESS_SIZES, ADDRESS_ROOM, Hand { bold: true, ..PLAIN });
    for (top, label, value) in [(132, of, reference), (204, parcel, shipment.id.as_str())] {
        drawing.say((ASIDE, top), SMALL, label);
        drawing.fill((ASIDE, top + 2), &[value.to_owned()], &ASIDE_SIZES, ASIDE_ROOM, PLAIN);
    }
    for (n, rows) in (0..).zip(sheets) {
        let (top, table) = (n * HIGH, if n == 0 { TABLE_TOP } else { TABLE_TOP_LATER });
        drawing.say((NAME_LEFT, top + table - 10), SMALL, article);
        drawing.say((RIGHT, top + table - 10), Hand { ends: true, ..SMALL }, quantity);
        drawing.rule(top + table, "#000");
        for (y, row) in rows {
            row.draw(&mut drawing, top + y);
        }
        let foot = format!("{sheet} {}/{count}", n + 1);
        drawing.say((RIGHT, top + HIGH - MARGIN), Hand { ends: true, ..SMALL }, &foot);
        drawing.say((MARGIN, top + HIGH - MARGIN), SMALL, shipment.id.as_str());
    }
    drawing.0.push_str("</svg>\n");
    drawing.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use oms_domain::paper::width;

    #[test]
    fn every_row_is_on_a_sheet_and_none_crosses_its_end() {
        let row = |n: u32| Row {
            name: wrap(&"A name of some length ".repeat(1 + n as usize % 9), NAME_SIZE, NAME_ROOM),
            sku: wrap(&"W".repeat(64), SKU_SIZE, NAME_ROOM),
            quantity: n,
        };
        for count in [1, 20, 100] {
            let sheets = flow((0..count).map(row).collect());
            let rows: Vec<&(u32, Row)> = sheets.iter().flatten().collect();
            assert_eq!(rows.iter().map(|(_, row)| row.quantity).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
            assert!(rows.iter().all(|(y, row)| y + row.high() <= TABLE_END && *y >= TABLE_TOP_LATER));
            assert!(rows.iter().all(|(_, row)| row.name.iter().all(|line| width(line, NAME_SIZE) <= NAME_ROOM)));
            assert!(sheets.iter().all(|sheet| sheet.windows(2).all(|two| two[0].0 + two[0].1.high() <= two[1].0)));
        }
    }

    #[test]
    fn words_need_no_escape() {
        for locale in Locale::ALL {
            assert!(words(locale).iter().all(|word| escape(word) == *word));
        }
    }
}
