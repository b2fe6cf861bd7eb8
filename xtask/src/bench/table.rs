//! The figures with their targets, as a Markdown table.

use std::fmt;

/// Where a figure should lie.
enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// Nowhere: it explains others.
    Fact,
}

/// One thing that was measured.
pub(super) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    target: Target,
    detail: String,
}

impl Figure {
    pub(super) fn at_most(name: &str, value: f64, target: f64, unit: &'static str) -> Self {
        Self::new(name, value, unit, Target::AtMost(target))
    }

    pub(super) fn at_least(name: &str, value: f64, target: f64, unit: &'static str) -> Self {
        Self::new(name, value, unit, Target::AtLeast(target))
    }

    pub(super) fn fact(name: &str, value: f64, unit: &'static str) -> Self {
        Self::new(name, value, unit, Target::Fact)
    }

    /// Adds what explains it.
    pub(super) fn with(mut self, detail: String) -> Self {
        self.detail = detail;
        self
    }

    fn new(name: &str, value: f64, unit: &'static str, target: Target) -> Self {
        Self { name: name.to_owned(), value, unit, target, detail: String::new() }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, unit, detail, .. } = self;
        let (target, met) = match self.target {
            Target::AtMost(most) => (format!("at most {most:.2}"), Some(*value <= most)),
            Target::AtLeast(least) => (format!("at least {least:.2}"), Some(*value >= least)),
            Target::Fact => (String::new(), None),
        };
        let met = met.map_or("", |met| if met { "pass" } else { "**miss**" });
        write!(f, "| {name} | {value:.2} {unit} | {target} | {met} | {detail} |")
    }
}

/// All that was measured.
#[derive(Default)]
pub(super) struct Table {
    figures: Vec<Figure>,
}

impl Table {
    /// Adds a figure, and shows it at once to whoever waits for the others.
    pub(super) fn add(&mut self, figure: Figure) {
        eprintln!("bench: {figure}");
        self.figures.push(figure);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | measured | target | | |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        self.figures.iter().try_for_each(|figure| writeln!(f, "{figure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_whether_it_is_met() {
        let miss = Figure::at_least("reads", 0.4, 0.5, "of the ceiling").to_string();
        assert!(miss.contains("**miss**") && miss.contains("at least 0.50"), "{miss}");
        assert!(Figure::at_most("start", 1.9, 2.0, "s").to_string().contains("| pass |"));
        let fact = Figure::fact("sync", 0.2, "ms").with("p99 1 ms".into()).to_string();
        assert!(!fact.contains("pass") && fact.contains("p99 1 ms"), "{fact}");
    }
}
