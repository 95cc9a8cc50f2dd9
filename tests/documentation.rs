//! Every public method is shown in an example that is compiled, and what can be refused on a handle shows a refusal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// What is not shown, and why.
const NOT_SHOWN: [(&str, &str); 0] = [];

/// What names no refusal although it has a section of errors, and why.
const NO_REFUSAL: [(&str, &str); 0] = [];

#[derive(Default)]
struct Type {
    /// The code of all examples of the type and its methods.
    examples: String,
    /// Method -> its own documentation.
    methods: BTreeMap<String, String>,
    in_handles: bool,
}

/// The public types with their public methods.
#[derive(Default)]
struct Surface {
    exported: BTreeSet<String>,
    types: BTreeMap<String, Type>,
    in_handles: bool,
}

fn documentation(attributes: &[syn::Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        if let syn::Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let syn::Expr::Lit(literal) = &pair.value
            && let syn::Lit::Str(line) = &literal.lit
        {
            text.push_str(&line.value());
            text.push('\n');
        }
    }
    text
}

/// The code blocks of a documentation.
fn code(text: &str) -> String {
    text.split("```").skip(1).step_by(2).collect::<Vec<_>>().join("\n")
}

fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

impl Surface {
    fn type_of(&mut self, name: &str) -> &mut Type {
        self.types.entry(name.to_owned()).or_default()
    }

    fn add_documentation(&mut self, name: &str, attributes: &[syn::Attribute]) {
        let in_handles = self.in_handles;
        let found = self.type_of(name);
        found.examples.push_str(&code(&documentation(attributes)));
        found.in_handles |= in_handles;
    }
}

impl<'ast> Visit<'ast> for Surface {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add_documentation(&item.ident.to_string(), &item.attrs);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add_documentation(&item.ident.to_string(), &item.attrs);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if is_public(&item.vis) {
            let name = item.sig.ident.to_string();
            self.add_documentation(&name, &item.attrs);
            let text = documentation(&item.attrs);
            self.type_of(&name.clone()).methods.insert(name, text);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let syn::Type::Path(path) = &*item.self_ty else { return };
        if item.trait_.is_some() {
            return;
        }
        let name = path.path.segments.last().unwrap().ident.to_string();
        for part in &item.items {
            if let syn::ImplItem::Fn(method) = part
                && is_public(&method.vis)
            {
                let text = documentation(&method.attrs);
                let found = self.type_of(&name);
                found.examples.push_str(&code(&text));
                found.methods.insert(method.sig.ident.to_string(), text);
            }
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }
}

/// The names that `lib.rs` gives out.
fn exported(tree: &syn::UseTree, names: &mut BTreeSet<String>) {
    match tree {
        syn::UseTree::Path(path) => exported(&path.tree, names),
        syn::UseTree::Group(group) => group.items.iter().for_each(|item| exported(item, names)),
        syn::UseTree::Name(name) => drop(names.insert(name.ident.to_string())),
        _ => {}
    }
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn surface() -> Surface {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut surface = Surface::default();
    for file in &files {
        let source = syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap();
        if file.ends_with("src/lib.rs") {
            for item in &source.items {
                if let syn::Item::Use(item) = item {
                    exported(&item.tree, &mut surface.exported);
                }
            }
            continue;
        }
        surface.in_handles = file.starts_with(root.join("handle"));
        surface.visit_file(&source);
    }
    let Surface { exported, types, .. } = &mut surface;
    types.retain(|name, _| exported.contains(name));
    surface
}

#[test]
fn every_public_method_is_shown_in_an_example() {
    let surface = surface();
    assert!(surface.types.len() > 30, "only {} types were read", surface.types.len());
    let excused: BTreeSet<_> = NOT_SHOWN.iter().map(|(name, _)| *name).collect();
    let mut missing = Vec::new();
    for (name, found) in &surface.types {
        for method in found.methods.keys() {
            let full = format!("{name}::{method}");
            let shown =
                found.examples.contains(&format!("{method}(")) || found.examples.contains(&format!("{method}::<"));
            assert!(!(shown && excused.contains(full.as_str())), "{full} is shown and excused");
            if !shown && !excused.contains(full.as_str()) {
                missing.push(full);
            }
        }
    }
    assert!(missing.is_empty(), "without an example: {missing:#?}");
}

#[test]
fn what_a_handle_can_refuse_is_shown_refused() {
    let surface = surface();
    let excused: BTreeSet<_> = NO_REFUSAL.iter().map(|(name, _)| *name).collect();
    let mut missing = Vec::new();
    for (name, found) in surface.types.iter().filter(|(_, found)| found.in_handles) {
        for (method, text) in &found.methods {
            let full = format!("{name}::{method}");
            let example = code(text);
            let refuses = example.contains("unwrap_err()") || example.contains("is_err()");
            if text.contains("# Errors") && !refuses && !excused.contains(full.as_str()) {
                missing.push(full);
            }
        }
    }
    assert!(missing.is_empty(), "without a refusal: {missing:#?}");
}
