//! Finds the places of a source file that can be changed so that it still compiles.

use std::ops::Range;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Stmt};

use crate::mutant::{Edit, Kind, Mutant};

/// All mutants of a file, numbered from `first`, in the order of their places.
///
/// # Errors
/// When the file is not Rust.
pub fn find(file: &str, source: &str, first: u32) -> syn::Result<Vec<Mutant>> {
    let mut finder = Finder { file, source, found: Vec::new() };
    finder.visit_file(&syn::parse_file(source)?);
    let mut found = finder.found;
    found.sort_by_key(|mutant| (mutant.line, mutant.column));
    for (number, mutant) in (first..).zip(&mut found) {
        mutant.number = number;
    }
    Ok(found)
}

/// The modules that this file declares for tests, for features or for other platforms.
///
/// # Errors
/// When the file is not Rust.
pub fn left_out(source: &str) -> syn::Result<Vec<String>> {
    let items = syn::parse_file(source)?.items.into_iter();
    Ok(items
        .filter_map(|item| match item {
            syn::Item::Mod(module) if is_left_out(&module.attrs) => Some(module.ident.to_string()),
            _ => None,
        })
        .collect())
}

struct Finder<'a> {
    file: &'a str,
    source: &'a str,
    found: Vec<Mutant>,
}

/// Whether something is compiled only for tests, for a feature that is not part of the API, or elsewhere than on Linux.
fn is_left_out(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition: String = list.tokens.to_string().split_whitespace().collect();
        ["test", "feature", "windows", "not(unix)", "not(target_os"].iter().any(|part| condition.contains(part))
    })
}

/// What a function may return without doing anything.
fn plain_values(output: &syn::ReturnType) -> Vec<String> {
    let syn::ReturnType::Type(_, of) = output else { return vec![String::new()] };
    plain_of(of)
}

fn plain_of(of: &syn::Type) -> Vec<String> {
    let of = match of {
        syn::Type::Tuple(tuple) if tuple.elems.is_empty() => return vec!["()".into()],
        syn::Type::Path(path) => path,
        _ => return Vec::new(),
    };
    let Some(last) = of.path.segments.last() else { return Vec::new() };
    let argument = || match &last.arguments {
        syn::PathArguments::AngleBracketed(arguments) => arguments.args.iter().find_map(|argument| match argument {
            syn::GenericArgument::Type(of) => Some(plain_of(of)),
            _ => None,
        }),
        _ => None,
    };
    let wrapped =
        |with: &'static str| argument().unwrap_or_default().into_iter().map(move |value| format!("{with}({value})"));
    match last.ident.to_string().as_str() {
        "bool" => vec!["true".into(), "false".into()],
        "Vec" => vec!["Vec::new()".into()],
        "Option" => {
            std::iter::once("None".to_owned()).chain(wrapped("Some").filter(|some| some == "Some(())")).collect()
        }
        // `fmt::Result` and the like have no argument.
        "Result" => wrapped("Ok").collect(),
        _ => Vec::new(),
    }
}

/// What stands for this operator when it is changed.
fn exchanged(operator: &BinOp) -> Option<(&'static str, Kind)> {
    Some(match operator {
        BinOp::Eq(_) => ("!=", Kind::Operator),
        BinOp::Ne(_) => ("==", Kind::Operator),
        BinOp::Lt(_) => ("<=", Kind::Operator),
        BinOp::Le(_) => ("<", Kind::Operator),
        BinOp::Gt(_) => (">=", Kind::Operator),
        BinOp::Ge(_) => (">", Kind::Operator),
        BinOp::And(_) => ("||", Kind::Operator),
        BinOp::Or(_) => ("&&", Kind::Operator),
        BinOp::Add(_) => ("-", Kind::Arithmetic),
        BinOp::Sub(_) => ("+", Kind::Arithmetic),
        BinOp::AddAssign(_) => ("-=", Kind::Arithmetic),
        BinOp::SubAssign(_) => ("+=", Kind::Arithmetic),
        _ => return None,
    })
}

/// Whether a `let` stands among the parts of a condition.
fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

/// Whether a statement only calls something, so that it can be left out.
fn is_call(expression: &Expr) -> bool {
    match expression {
        Expr::Call(_) | Expr::MethodCall(_) => true,
        Expr::Try(tried) => is_call(&tried.expr),
        _ => false,
    }
}

impl<'a> Finder<'a> {
    fn text(&self, range: Range<usize>) -> &'a str {
        &self.source[range]
    }

    fn add(&mut self, at: proc_macro2::Span, kind: Kind, change: String, edit: Edit) {
        let start = at.start();
        let change = change.split_whitespace().collect::<Vec<_>>().join(" ");
        let (line, column) = (start.line, start.column + 1);
        self.found.push(Mutant { number: 0, file: self.file.to_owned(), line, column, kind, change, edit });
    }

    fn replace(&mut self, node: &impl Spanned, kind: Kind, instead: String) {
        let (span, original) = (node.span(), node.span().byte_range());
        let change = format!("`{}` -> `{instead}`", self.text(original.clone()));
        self.add(span, kind, change, Edit::Replace { original, instead });
    }

    /// A condition, or a part of one that stands beside a `let`.
    fn condition(&mut self, condition: &Expr, kind: Kind, values: &[&str]) {
        if !has_let(condition) {
            let original = self.text(condition.span().byte_range()).to_owned();
            for value in values.iter().filter(|value| **value != original) {
                self.replace(condition, kind, (*value).to_owned());
            }
            return;
        }
        if values.contains(&"false") {
            let original = condition.span().byte_range();
            let change = format!("`{}` -> never", self.text(original.clone()));
            self.add(condition.span(), kind, change, Edit::Never { original });
        }
        if values.contains(&"true") {
            self.beside_let(condition, kind);
        }
    }

    fn beside_let(&mut self, condition: &Expr, kind: Kind) {
        match condition {
            Expr::Let(_) => {}
            Expr::Binary(binary) if has_let(condition) => {
                self.beside_let(&binary.left, kind);
                self.beside_let(&binary.right, kind);
            }
            plain => self.replace(plain, kind, "true".into()),
        }
    }

    fn body(&mut self, signature: &syn::Signature, block: &syn::Block) {
        if signature.constness.is_some() {
            return;
        }
        let whole = block.span().byte_range();
        let inside = self.text(whole.start + 1..whole.end - 1).trim().to_owned();
        if !inside.is_empty() {
            for value in plain_values(&signature.output).into_iter().filter(|value| *value != inside) {
                let change = format!("`fn {}` returns `{value}`", signature.ident);
                self.add(signature.ident.span(), Kind::Body, change, Edit::Return { at: whole.start + 1, value });
            }
        }
        self.visit_block(block);
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Trait(item) => &item.attrs,
            // Everything else is data, or evaluated by the compiler.
            _ => return,
        };
        if !is_left_out(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        // What is only for people to read.
        let of = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        if of.is_none_or(|of| of.ident != "Debug" && of.ident != "Display") {
            item.items.iter().for_each(|item| self.visit_impl_item(item));
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.body(&item.sig, &item.block);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        if let syn::ImplItem::Fn(item) = item
            && !is_left_out(&item.attrs)
        {
            self.body(&item.sig, &item.block);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        if let syn::TraitItem::Fn(item) = item
            && let Some(block) = &item.default
        {
            self.body(&item.sig, block);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let attributes: &[syn::Attribute] = match statement {
            Stmt::Local(local) => &local.attrs,
            Stmt::Expr(Expr::Block(block), _) => &block.attrs,
            _ => &[],
        };
        if is_left_out(attributes) {
            return;
        }
        let only_called = match statement {
            Stmt::Expr(expression, Some(_)) => is_call(expression),
            Stmt::Local(local) => {
                let init = local.init.as_ref().filter(|init| init.diverge.is_none());
                matches!(local.pat, syn::Pat::Wild(_)) && init.is_some_and(|init| is_call(&init.expr))
            }
            _ => false,
        };
        if only_called && attributes.is_empty() {
            let original = statement.span().byte_range();
            let change = format!("`{}` left out", self.text(original.clone()));
            self.add(statement.span(), Kind::Statement, change, Edit::Skip { original });
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        match expression {
            Expr::Binary(binary) if !has_let(expression) => {
                if let Some((operator, kind)) = exchanged(&binary.op) {
                    let [left, right] = [&binary.left, &binary.right].map(|side| side.span().byte_range());
                    let instead = format!("{} {operator} {}", self.text(left), self.text(right));
                    self.replace(binary, kind, instead);
                }
            }
            Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Not(_)) => {
                let instead = self.text(unary.expr.span().byte_range()).to_owned();
                self.replace(unary, Kind::Operator, instead);
            }
            Expr::If(choice) => self.condition(&choice.cond, Kind::Condition, &["true", "false"]),
            // One that never ends tells nothing that a time limit would not.
            Expr::While(choice) => self.condition(&choice.cond, Kind::Condition, &["false"]),
            // Evaluated by the compiler.
            Expr::Const(_) => return,
            Expr::Repeat(repeat) => return self.visit_expr(&repeat.expr),
            _ => {}
        }
        visit::visit_expr(self, expression);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if is_left_out(&arm.attrs) {
            return;
        }
        if let Some((_, guard)) = &arm.guard {
            self.condition(guard, Kind::Guard, &["true", "false"]);
        }
        visit::visit_arm(self, arm);
    }

    fn visit_type(&mut self, _: &'ast syn::Type) {}

    fn visit_pat(&mut self, _: &'ast syn::Pat) {}

    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<String> {
        let found = find("a.rs", source, 1).unwrap();
        found.into_iter().map(|mutant| format!("{} {}", mutant.line, mutant.change)).collect()
    }

    #[test]
    fn every_kind_is_found() {
        let source = "fn is_good(a: u8) -> bool {
    if a == 1 && b(a) { return false; }
    while a < 3 { next()?; }
    match a { n if n > 1 => a += 1, _ => { let _ = c(); } }
    if let Some(x) = y && !x { d(); }
    true
}";
        let expected = [
            "1 `fn is_good` returns `true`",
            "1 `fn is_good` returns `false`",
            "2 `a == 1 && b(a)` -> `true`",
            "2 `a == 1 && b(a)` -> `false`",
            "2 `a == 1 && b(a)` -> `a == 1 || b(a)`",
            "2 `a == 1` -> `a != 1`",
            "3 `a < 3` -> `false`",
            "3 `a < 3` -> `a <= 3`",
            "3 `next()?;` left out",
            "4 `n > 1` -> `true`",
            "4 `n > 1` -> `false`",
            "4 `n > 1` -> `n >= 1`",
            "4 `a += 1` -> `a -= 1`",
            "4 `let _ = c();` left out",
            "5 `let Some(x) = y && !x` -> never",
            "5 `!x` -> `true`",
            "5 `!x` -> `x`",
            "5 `d();` left out",
        ];
        assert_eq!(found(source), expected);
    }

    #[test]
    fn what_is_for_tests_people_or_the_compiler_is_left_alone() {
        let source = "const A: usize = 1 + 2;
const fn f(a: u8) -> bool { a == 1 }
impl std::fmt::Debug for A { fn fmt(&self) -> bool { a == b } }
#[cfg(test)] mod tests { fn f() -> bool { a == b } }
#[cfg(not(unix))] fn g() -> bool { a == b }
fn h() { let x = [0; 1 + 2]; println!(\"{}\", a == b); }";
        assert_eq!(found(source), ["6 `fn h` returns ``"]);
    }

    #[test]
    fn plain_values_follow_the_type() {
        let values = |of: &str| plain_of(&syn::parse_str(of).unwrap());
        assert_eq!(values("Result<()>"), ["Ok(())"]);
        assert_eq!(values("io::Result<bool>"), ["Ok(true)", "Ok(false)"]);
        assert_eq!(values("Result<Option<Row<'_>>, Refused>"), ["Ok(None)"]);
        assert_eq!(values("Option<()>"), ["None", "Some(())"]);
        assert!(values("Result<Row>").is_empty() && values("u32").is_empty() && values("fmt::Result").is_empty());
    }
}
