//! What a mutant is: one small change of one place, and how it is written beside the original.

use std::fmt;
use std::ops::Range;

/// What kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A comparison, `&&` or `||` is exchanged for its neighbour, or a `!` dropped.
    Operator,
    /// `+` for `-`, or the other way round.
    Arithmetic,
    /// A condition is always true or always false.
    Condition,
    /// The guard of a match arm is always true or always false.
    Guard,
    /// A statement that calls something is left out.
    Statement,
    /// A function returns at once, with the plainest value of its type.
    Body,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "operator",
            Self::Arithmetic => "arithmetic",
            Self::Condition => "condition",
            Self::Guard => "guard",
            Self::Statement => "statement",
            Self::Body => "body",
        })
    }
}

/// How the changed code stands beside the original, which stays in its place.
#[derive(Debug, Clone)]
pub enum Edit {
    /// `(if on { instead } else { original })`.
    Replace { original: Range<usize>, instead: String },
    /// `!on && original`, for a condition with `let`, which cannot stand in a block.
    Never { original: Range<usize> },
    /// `if !on { original }`, for a statement.
    Skip { original: Range<usize> },
    /// `if on { return value; }` at the beginning of a function's body.
    Return { at: usize, value: String },
}

/// One change of one place.
#[derive(Debug, Clone)]
pub struct Mutant {
    /// Switches it on; from 1.
    pub number: u32,
    /// From the root of the package, with `/`.
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub kind: Kind,
    /// What is there and what is there instead, for people.
    pub change: String,
    pub edit: Edit,
}

impl Mutant {
    /// Names it as long as the file stays the same: `hash` is that of the file's text.
    pub fn key(&self, hash: u64) -> String {
        format!("{}:{}:{} {} [{hash:016x}] {}", self.file, self.line, self.column, self.kind, self.change)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.kind, self.change)
    }
}

impl Edit {
    /// Texts to insert before and after which part of the original.
    fn around(&self, number: u32) -> (Range<usize>, String, &'static str) {
        let on = format!("crate::mutant::on({number})");
        match self {
            Self::Replace { original, instead } => {
                (original.clone(), format!("(if {on} {{ {instead} }} else {{ "), " })")
            }
            Self::Never { original } => (original.clone(), format!("!{on} && "), ""),
            Self::Skip { original } => (original.clone(), format!("if !{on} {{ "), " }"),
            Self::Return { at, value } => (*at..*at, format!(" if {on} {{ return {value}; }}"), ""),
        }
    }
}

/// A source file with its mutants written in, and where each of them stands now.
pub struct Rewritten {
    pub text: String,
    /// Number, the text inserted before the original, and everything up to the end of the original.
    pub places: Vec<(u32, Range<usize>, Range<usize>)>,
}

/// Writes mutants into the text of their file.
pub fn rewrite(source: &str, mutants: &[&Mutant]) -> Rewritten {
    struct Insertion {
        at: usize,
        /// At the same place ends come before beginnings, inner ends before outer ones, outer beginnings before inner.
        order: (bool, usize, usize),
        text: String,
        mutant: usize,
        begins: bool,
    }
    let mut insertions = Vec::new();
    for (index, mutant) in mutants.iter().enumerate() {
        let (Range { start, end }, before, after) = mutant.edit.around(mutant.number);
        let length = end - start;
        let order = (true, usize::MAX - length, index);
        insertions.push(Insertion { at: start, order, text: before, mutant: index, begins: true });
        if length > 0 {
            let order = (false, length, usize::MAX - index);
            insertions.push(Insertion { at: end, order, text: after.to_owned(), mutant: index, begins: false });
        }
    }
    // Nothing of length zero shares its place with anything else: it follows a brace.
    insertions.sort_by_key(|insertion| (insertion.at, insertion.order));
    let (mut text, mut done) = (String::with_capacity(2 * source.len()), 0);
    let mut places: Vec<_> = mutants.iter().map(|mutant| (mutant.number, 0..0, 0..0)).collect();
    for insertion in insertions {
        text.push_str(&source[done..insertion.at]);
        done = insertion.at;
        let start = text.len();
        text.push_str(&insertion.text);
        let place = &mut places[insertion.mutant];
        if insertion.begins {
            place.1 = start..text.len();
            place.2 = start..text.len();
        } else {
            place.2.end = text.len();
        }
    }
    text.push_str(&source[done..]);
    Rewritten { text, places }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(number: u32, edit: Edit) -> Mutant {
        let (file, change) = (String::new(), String::new());
        Mutant { number, file, line: 1, column: 1, kind: Kind::Operator, change, edit }
    }

    #[test]
    fn edits_nest_and_the_original_stays() {
        let source = "{ f(a == b); }";
        let [call, comparison] = [2..12, 4..10];
        let all = [
            mutant(1, Edit::Return { at: 1, value: "x".into() }),
            mutant(2, Edit::Skip { original: call }),
            mutant(3, Edit::Replace { original: comparison.clone(), instead: "a != b".into() }),
            mutant(4, Edit::Replace { original: comparison, instead: "true".into() }),
        ];
        let rewritten = rewrite(source, &all.iter().collect::<Vec<_>>());
        assert_eq!(
            rewritten.text,
            "{ if crate::mutant::on(1) { return x; } if !crate::mutant::on(2) { f((if crate::mutant::on(3) \
             { a != b } else { (if crate::mutant::on(4) { true } else { a == b }) })); } }"
        );
        let of = |number: usize| &rewritten.text[rewritten.places[number].2.clone()];
        assert!(of(2).starts_with("(if crate::mutant::on(3)") && of(2).ends_with("a == b }) })"));
        assert!(of(3).starts_with("(if crate::mutant::on(4)") && of(3).ends_with("a == b })"));
    }
}
