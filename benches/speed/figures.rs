//! What was measured: a name, the values of all rounds, what they are compared with, and the most that they may be.

use std::io::Write as _;
use std::path::Path;

use serde_json::json;

/// One figure. Everything that is limited is better when smaller.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// Stable: `--only` selects by it, and tables and plots are made from it.
    pub(crate) name: &'static str,
    /// The part that measured it; its runner says so.
    pub(crate) part: &'static str,
    /// In words, for the table.
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// One value for each round.
    pub(crate) values: Vec<f64>,
    /// What it is compared with, in the same rounds.
    pub(crate) baseline: Option<Baseline>,
    /// The most that the ratio may be or, without a baseline, the value.
    pub(crate) limit: Option<f64>,
}

/// The other side of a ratio.
#[derive(Debug, Clone)]
pub(crate) struct Baseline {
    pub(crate) what: &'static str,
    pub(crate) values: Vec<f64>,
}

impl Figure {
    pub(crate) fn new(name: &'static str, what: &'static str, unit: &'static str, values: Vec<f64>) -> Self {
        Self {
            name,
            part: "",
            what,
            unit,
            values,
            baseline: None,
            limit: None,
        }
    }

    pub(crate) fn of(mut self, what: &'static str, values: Vec<f64>) -> Self {
        assert_eq!(
            values.len(),
            self.values.len(),
            "{}: both sides have every round",
            self.name
        );
        self.baseline = Some(Baseline { what, values });
        self
    }

    pub(crate) fn at_most(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The median of the rounds' own ratios: what else the machine did in a round hit both sides of it.
    fn ratio(&self) -> Option<f64> {
        let baseline = self.baseline.as_ref()?;
        let ratios = self.values.iter().zip(&baseline.values).map(|(own, other)| own / other);
        Some(median(&ratios.collect::<Vec<_>>()))
    }

    /// Whether it is within its limit; true where there is none.
    pub(crate) fn holds(&self) -> bool {
        let judged = self.ratio().unwrap_or_else(|| median(&self.values));
        self.limit.is_none_or(|limit| judged <= limit)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "name": self.name,
            "value": median(&self.values),
            "baseline": self.baseline.as_ref().map(|baseline| median(&baseline.values)),
            "ratio": self.ratio(),
            "limit": self.limit,
            "unit": self.unit,
            "part": self.part,
            "what": self.what,
            "baseline_what": self.baseline.as_ref().map(|baseline| baseline.what),
            "min": least(&self.values),
            "max": most(&self.values),
            "rounds": self.values.len(),
        })
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "nothing was measured");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

pub(crate) fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

pub(crate) fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Prints one table of all figures.
pub(crate) fn print(figures: &[Figure]) {
    let width = figures.iter().map(|figure| figure.what.len()).max().unwrap_or(0);
    println!(
        "\n{:<width$}  {:>12} {:>22} {:>12} {:>7} {:>7}",
        "what", "median", "min … max", "baseline", "ratio", "limit"
    );
    for figure in figures {
        let number = |value: f64| {
            if value.abs() >= 1000.0 {
                format!("{value:.0}")
            } else {
                format!("{value:.2}")
            }
        };
        let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
        println!(
            "{:<width$}  {:>12} {:>22} {:>12} {:>7} {:>7} {}",
            figure.what,
            format!("{} {}", number(median(&figure.values)), figure.unit),
            format!("{} … {}", number(least(&figure.values)), number(most(&figure.values))),
            optional(figure.baseline.as_ref().map(|baseline| median(&baseline.values))),
            optional(figure.ratio()),
            optional(figure.limit),
            if figure.holds() { "" } else { "MISSED" },
        );
    }
}

/// Writes the list that scripts read.
pub(crate) fn write(figures: &[Figure], path: &Path) -> std::io::Result<()> {
    let list: Vec<_> = figures.iter().map(Figure::json).collect();
    let mut file = std::fs::File::create(path)?;
    serde_json::to_writer_pretty(&mut file, &list)?;
    file.write_all(b"\n")
}
