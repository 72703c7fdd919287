//! Tables of plain text: aligned columns, nothing that a pipe or a log would mind.

/// A table that is filled row by row.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; a name that starts with `>` is aligned to the right.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        let head = columns.iter().map(|c| c.trim_start_matches('>')).collect();
        Self { head, right: columns.iter().map(|c| c.starts_with('>')).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the columns are dropped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().take(self.head.len()).collect());
    }

    /// Whether no row was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines.
    pub(crate) fn render(&self) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|r| r.get(at)).map(|c| c.chars().count());
            cells.chain([self.head[at].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = self.line(&self.head.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>(), &widths);
        for row in &self.rows {
            text.push_str(&self.line(row, &widths));
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, width) in widths.iter().enumerate() {
            let cell = cells.get(at).map_or("", String::as_str);
            let padded = if self.right[at] { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
            line.push_str(if at == 0 { "" } else { "  " });
            line.push_str(&padded);
        }
        format!("{}\n", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["sku", ">units"]);
        assert!(table.is_empty());
        table.row(["a".to_owned(), "7".to_owned()]);
        table.row(["lång".to_owned(), "1000".to_owned()]);
        assert_eq!(table.render(), "sku   units\na         7\nlång   1000\n");
    }
}
