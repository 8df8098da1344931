//! How something grows: the same figure at several sizes, for the plots of docs/performance.md.

use std::io::Write as _;
use std::path::Path;

use serde_json::json;

/// One line of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// Stable: the plots are named by it. Lines that belong into one plot have names that are the same up to a dot,
    /// as `threads.gate` and `threads.stock`.
    pub(crate) name: &'static str,
    /// In words, for the plot; of lines in one plot, what tells them apart.
    pub(crate) what: &'static str,
    /// What grows, with its unit if it has one.
    pub(crate) x: &'static str,
    /// The unit of what was measured.
    pub(crate) unit: &'static str,
    /// What was measured at each size, by size.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Writes the list that the plots are drawn from.
pub(crate) fn write(curves: &[Curve], path: &Path) -> std::io::Result<()> {
    let list: Vec<_> = curves
        .iter()
        .map(|curve| {
            json!({
                "name": curve.name,
                "what": curve.what,
                "x": curve.x,
                "unit": curve.unit,
                "points": curve.points,
            })
        })
        .collect();
    let mut file = std::fs::File::create(path)?;
    serde_json::to_writer_pretty(&mut file, &list)?;
    file.write_all(b"\n")
}
