//! Tables for people: columns as wide as their widest cell, two spaces apart.
//!
//! Cells are cleaned of control characters: a name that somebody else chose must not move the cursor
//! of who reads it. Width is counted in characters, which is right for all but the widest scripts.

/// A table: a head and rows of as many cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<'h>(head: impl IntoIterator<Item = &'h str>) -> Self {
        Self {
            head: head.into_iter().map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. What it has more than the head is shown, what it has less is empty.
    pub(crate) fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows
            .push(cells.into_iter().map(|cell| clean(&cell.into())).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = || std::iter::once(&self.head).chain(&self.rows);
        let columns = lines().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = lines().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in lines() {
            let padded: Vec<String> = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}", width = *width))
                .collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn clean(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { '\u{fffd}' } else { character })
        .collect()
}

/// `5m`, `4h`, `1h 30m`: at most the two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let told: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if told.is_empty() {
        "0s".to_owned()
    } else {
        told.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_end_without_blanks() {
        let mut table = Table::new(["ID", "NAME"]);
        table.row(["a", "first"]);
        table.row(["longer", ""]);
        assert_eq!(table.to_string(), "ID      NAME\na       first\nlonger\n");
    }

    #[test]
    fn a_name_that_somebody_else_chose_moves_no_cursor() {
        let mut table = Table::new(["NAME"]);
        table.row(["x\u{1b}[2Jy\n"]);
        assert_eq!(table.to_string(), "NAME\nx\u{fffd}[2Jy\u{fffd}\n");
    }

    #[test]
    fn a_duration_has_its_two_largest_units() {
        for (seconds, text) in [(0, "0s"), (300, "5m"), (5400, "1h 30m"), (90_061, "1d 1h")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
