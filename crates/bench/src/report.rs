//! Printed report, and its JSON.

use crate::limit;
use serde_json::{Map, Value, json};

/// Lines of a run.
#[derive(Default)]
pub struct Report {
    lines: Vec<String>,
    ratios: Map<String, Value>,
}

impl Report {
    /// Adds a ratio that must be at least `least`.
    pub fn ratio(&mut self, key: &str, product: f64, reference: f64, least: f64, unit: &str) {
        let ratio = product / reference;
        let met = if ratio >= least { "met" } else { "NOT met" };
        self.line(key, product, reference, ratio, &format!(">= {least} {met}"), unit);
    }

    /// Adds a ratio that must be at most `most`.
    pub fn at_most(&mut self, key: &str, product: f64, reference: f64, most: f64, unit: &str) {
        let ratio = product / reference;
        let met = if ratio <= most { "met" } else { "NOT met" };
        self.line(key, product, reference, ratio, &format!("<= {most} {met}"), unit);
    }

    /// Adds a ratio that is only printed.
    pub fn beside(&mut self, key: &str, product: f64, reference: f64, unit: &str) {
        self.line(key, product, reference, product / reference, "", unit);
    }

    /// Adds a figure that must be at least an aim in absolute terms. The aim takes the place of the reference.
    pub fn at_least(&mut self, key: &str, figure: f64, aim: f64, unit: &str) {
        self.ratio(key, figure, aim, 1.0, unit);
    }

    /// Adds a figure that must be at most an aim in absolute terms. The aim takes the place of the reference.
    pub fn below(&mut self, key: &str, figure: f64, aim: f64, unit: &str) {
        self.at_most(key, figure, aim, 1.0, unit);
    }

    /// Adds a sentence.
    pub fn say(&mut self, sentence: String) {
        self.lines.push(sentence);
    }

    fn line(&mut self, key: &str, product: f64, reference: f64, ratio: f64, wanted: &str, unit: &str) {
        self.ratios.insert(key.to_owned(), json!((ratio * 1000.0).round() / 1000.0));
        self.lines.push(format!("{key:<44} {ratio:>6.2}   {product:>9.2} : {reference:>9.2} {unit:<12} {wanted}"));
        self.lines.push(format!("    limited by {}", limit::of(key)));
    }

    /// Prints the report.
    pub fn print(&self) {
        println!("{:<44} {:>6}   {:>9} : {:>9}", "", "ratio", "product", "reference");
        for line in &self.lines {
            println!("{line}");
        }
    }

    /// Returns the ratios as JSON.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(&self.ratios).expect("text");
        format!("{text}\n")
    }
}

/// Ends the bench unless exactly the confirmed rows are stored.
pub fn whole(registered: u64, counts: &[(&str, u64)]) {
    for (table, count) in counts {
        assert_eq!(*count, registered, "{table}: rows differ from confirmed registrations");
    }
}
