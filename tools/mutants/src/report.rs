//! The table: for each file what became of its mutants, and then those that no test found.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::ledger::{Fate, Ledger};
use crate::mutant::Mutant;
use crate::options::Options;
use crate::tree::Sources;

#[derive(Default, Clone, Copy)]
struct Row {
    built: usize,
    killed: usize,
    timed_out: usize,
    survived: usize,
    not_reached: usize,
    open: usize,
    unbuildable: usize,
}

impl Row {
    fn add(&mut self, fate: Option<&Fate>) {
        self.built += usize::from(fate != Some(&Fate::Unbuildable));
        let count = match fate {
            Some(Fate::Killed { .. }) => &mut self.killed,
            Some(Fate::TimedOut { .. }) => &mut self.timed_out,
            Some(Fate::Survived { .. }) => &mut self.survived,
            Some(Fate::NotReached) => &mut self.not_reached,
            Some(Fate::Unbuildable) => &mut self.unbuildable,
            None => &mut self.open,
        };
        *count += 1;
    }

    fn cells(&self) -> String {
        let Self { built, killed, timed_out, survived, not_reached, open, unbuildable } = self;
        format!("{built} | {killed} | {timed_out} | {survived} | {not_reached} | {open} | {unbuildable}")
    }
}

/// Everything that is known, as Markdown.
pub fn report(sources: &Sources, ledger: &Ledger, options: &Options) -> String {
    let (mut rows, mut all) = (BTreeMap::<&str, Row>::new(), Row::default());
    let mut alive: Vec<(&Mutant, &Fate)> = Vec::new();
    for mutant in sources.mutants.iter().filter(|mutant| options.is_asked_for(&mutant.file)) {
        let fate = ledger.fate(&sources.key(mutant));
        rows.entry(&mutant.file).or_default().add(fate);
        all.add(fate);
        alive.extend(
            fate.filter(|fate| matches!(fate, Fate::Survived { .. } | Fate::NotReached)).map(|fate| (mutant, fate)),
        );
    }
    let mut text =
        String::from("| file | mutants | killed | timed out | survived | not reached | not run | unbuildable |\n");
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for (file, row) in rows {
        let _ = writeln!(text, "| `{file}` | {} |", row.cells());
    }
    let _ = writeln!(text, "| all | {} |\n", all.cells());
    for (mutant, fate) in alive {
        let _ = writeln!(text, "- {mutant} ({fate})");
    }
    text
}
