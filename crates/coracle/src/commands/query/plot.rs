//! Lines in a terminal, four dots high and two wide to a character.

use std::fmt::Write;

const COLUMNS: usize = 72;
const ROWS: usize = 16;
/// Lines that are drawn; more would be a thicket.
const LINES_MAX: usize = 8;
const COLOURS: [u8; LINES_MAX] = [36, 33, 35, 32, 34, 31, 96, 93];
/// Dots of a braille character by column and row.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// A named line of points: time and value.
pub type Line = (String, Vec<(f64, f64)>);

/// The smallest and the largest.
fn span(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|value| value.is_finite())
        .map(|value| (value, value))
        .reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
}

/// Draws lines in one frame.
pub fn plot(lines: &[Line]) -> String {
    let points = || lines.iter().take(LINES_MAX).flat_map(|(_, points)| points.iter());
    let (Some(times), Some(values)) = (span(points().map(|point| point.0)), span(points().map(|point| point.1))) else {
        return "nothing to draw\n".to_owned();
    };
    let mut canvas = vec![(0u8, 0usize); COLUMNS * ROWS];
    for (line, (_, points)) in lines.iter().take(LINES_MAX).enumerate() {
        for (time, value) in points.iter().filter(|(_, value)| value.is_finite()) {
            let x = place(*time, times, COLUMNS * 2);
            let y = ROWS * 4 - 1 - place(*value, values, ROWS * 4);
            let cell = &mut canvas[y / 4 * COLUMNS + x / 2];
            *cell = (cell.0 | DOTS[x % 2][y % 4], line);
        }
    }
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stdout());
    let mut text = String::new();
    for (row, cells) in canvas.chunks(COLUMNS).enumerate() {
        let label = match row {
            0 => short(values.1),
            _ if row == ROWS - 1 => short(values.0),
            _ => String::new(),
        };
        write!(text, "{label:>12} ┤").expect("writing to a string does not fail");
        for (dots, line) in cells {
            let character = char::from_u32(0x2800 + u32::from(*dots)).unwrap_or(' ');
            match colour && *dots != 0 {
                true => write!(text, "\x1b[{}m{character}\x1b[0m", COLOURS[*line]),
                false => write!(text, "{character}"),
            }
            .expect("writing to a string does not fail");
        }
        text.push('\n');
    }
    let (from, to) = (super::date_time(times.0), super::date_time(times.1));
    writeln!(text, "{:14}{from}{to:>width$}", "", width = COLUMNS - from.len())
        .expect("writing to a string does not fail");
    for (line, (name, _)) in lines.iter().take(LINES_MAX).enumerate() {
        let mark = if colour { format!("\x1b[{}m●\x1b[0m", COLOURS[line]) } else { "●".to_owned() };
        writeln!(text, "{:13}{mark} {name}", "").expect("writing to a string does not fail");
    }
    if lines.len() > LINES_MAX {
        writeln!(text, "{:15}and {} more that are not drawn", "", lines.len() - LINES_MAX)
            .expect("writing to a string does not fail");
    }
    text
}

fn place(value: f64, (low, high): (f64, f64), places: usize) -> usize {
    if high <= low {
        return places / 2;
    }
    (((value - low) / (high - low) * (places - 1) as f64).round() as usize).min(places - 1)
}

fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e9 => format!("{:.2}G", value / 1e9),
        _ if size >= 1e6 => format!("{:.2}M", value / 1e6),
        _ if size >= 1e4 => format!("{:.2}k", value / 1e3),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_line_rises() {
        let points = (0..144).map(|index| (f64::from(index) * 60.0, f64::from(index))).collect();
        let text = plot(&[("up".to_owned(), points)]);
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[0].starts_with("     143.000 ┤") && rows[15].starts_with("       0.000 ┤"));
        assert!(rows[0].trim_end_matches('⠀').ends_with(|last| last != '⠀' && last != '┤'));
        assert_eq!(rows[17].trim(), "● up");
        assert_eq!(plot(&[]), "nothing to draw\n");
    }
}
