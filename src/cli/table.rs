//! Tables: aligned columns without frames, so that they read as well in a pipe; coloured on a terminal.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, presets};

/// A table that is being filled.
pub(super) struct Table {
    table: comfy_table::Table,
    colour: bool,
}

/// How a word is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

impl Tone {
    /// The tone of a verdict, a status or a child's state as the API says it.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "up" | "healthy" | "running" => Self::Good,
            "degraded" | "restarting" | "starting" | "ejected" | "unknown" => Self::Doubtful,
            "down" | "unhealthy" | "given_up" => Self::Bad,
            _ => Self::Plain,
        }
    }

    fn colour(self) -> Option<Color> {
        match self {
            Self::Plain => None,
            Self::Good => Some(Color::Green),
            Self::Doubtful => Some(Color::Yellow),
            Self::Bad => Some(Color::Red),
        }
    }
}

impl Table {
    /// A table of these columns; a name that begins with `>` stands for numbers, which end together.
    pub(super) fn new(columns: &[&str], colour: bool) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).force_no_tty();
        if colour {
            table.enforce_styling();
        }
        let header = columns.iter().map(|name| Cell::new(name.trim_start_matches('>')).add_attribute(Attribute::Bold));
        table.set_header(header);
        for (at, name) in columns.iter().enumerate() {
            if let Some(column) = table.column_mut(at) {
                column.set_padding((0, 2));
                if name.starts_with('>') {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        Self { table, colour }
    }

    /// Adds a row. A word that tells how something is has its colour.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let colour = self.colour;
        self.table.add_row(cells.into_iter().map(|text| {
            let tone = Tone::of(&text).colour().filter(|_| colour);
            let cell = Cell::new(text);
            tone.map_or(cell.clone(), |tone| cell.fg(tone))
        }));
    }

    /// The lines, without blanks at their ends.
    pub(super) fn lines(&self) -> String {
        let mut text = self.table.trim_fmt();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(colour: bool) -> String {
        let mut table = Table::new(&["NODE", "VERDICT", ">IN FLIGHT"], colour);
        table.row(["web-1", "up", "7"].map(str::to_owned));
        table.row(["a-longer-name", "down", "123"].map(str::to_owned));
        table.lines()
    }

    #[test]
    fn columns_are_aligned_and_plain_in_a_pipe() {
        let expected = "\
NODE           VERDICT  IN FLIGHT
web-1          up               7
a-longer-name  down           123
";
        assert_eq!(sample(false), expected);
    }

    #[test]
    fn on_a_terminal_a_word_that_tells_how_it_is_has_its_colour() {
        let shown = sample(true);
        assert!(shown.contains("\u{1b}[38;5;10mup"), "{shown:?}");
        assert!(shown.contains("\u{1b}[38;5;9mdown"), "{shown:?}");
        assert!(!shown.contains("\u{1b}[38;5;10mweb-1"), "{shown:?}");
    }
}
