//! Imports point downward: no layer names one above it, and each outside crate has its place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// Lowest first. The files at the root of `src` stand below all of them.
const LAYERS: [&str; 10] =
    ["crypto", "store", "catalog", "identity", "access", "index", "tenant", "engine", "handle", "testing"];

/// Crates that only some layers may name.
const CONFINED: [(&str, &[&str]); 5] = [
    ("redb", &["store", "catalog", "tenant"]),
    ("aes_gcm", &["crypto"]),
    ("argon2", &["crypto"]),
    ("hkdf", &["crypto"]),
    ("ring", &["crypto", "identity"]),
];

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

/// Every path a file names, in imports and in place, with `crate::` kept and macros read token by token.
#[derive(Default)]
struct Paths(BTreeSet<Vec<String>>);

impl Paths {
    fn tree(&mut self, tree: &syn::UseTree, mut prefix: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.tree(&path.tree, prefix);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(item, prefix.clone())),
            syn::UseTree::Name(name) => {
                prefix.push(name.ident.to_string());
                self.0.insert(prefix);
            }
            syn::UseTree::Rename(rename) => {
                prefix.push(rename.ident.to_string());
                self.0.insert(prefix);
            }
            syn::UseTree::Glob(_) => drop(self.0.insert(prefix)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        let tokens = mac.tokens.to_string().replace(' ', "");
        for (at, _) in tokens.match_indices("crate::") {
            let rest = &tokens[at..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            self.0.insert(rest[..end].split("::").map(str::to_owned).collect());
        }
        visit::visit_macro(self, mac);
    }
}

/// The layer of a file; `None` for the files at the root of `src`.
fn layer_of(root: &Path, file: &Path) -> Option<String> {
    let relative = file.strip_prefix(root).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    (!first.ends_with(".rs")).then(|| first.to_owned())
}

fn rank(layer: &str) -> usize {
    LAYERS.iter().position(|known| *known == layer).unwrap_or_else(|| panic!("{layer} is not a layer"))
}

fn violations(root: &Path) -> (usize, Vec<String>) {
    let mut files = Vec::new();
    sources(root, &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.strip_prefix(root).unwrap().display().to_string();
        let layer = layer_of(root, file);
        let mut paths = Paths::default();
        paths.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
        for path in &paths.0 {
            if let [first, second, ..] = path.as_slice()
                && first == "crate"
                && LAYERS.contains(&second.as_str())
                && name != "lib.rs"
            {
                let own = layer.as_deref().map_or(-1, |layer| rank(layer) as isize);
                if rank(second) as isize > own {
                    wrong.push(format!("{name} names {}", path.join("::")));
                }
            }
            for (outside, allowed) in CONFINED {
                let named = path.first().is_some_and(|first| first == outside);
                if named && !layer.as_deref().is_some_and(|layer| allowed.contains(&layer)) {
                    wrong.push(format!("{name} names the crate {outside}"));
                }
            }
        }
    }
    (files.len(), wrong)
}

#[test]
fn imports_point_downward() {
    let (files, wrong) = violations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(files > 30, "only {files} files were read");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `unsafe_code` is denied; one file is excused.
#[test]
fn one_file_is_unsafe() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.retain(|file| fs::read_to_string(file).unwrap().contains("unsafe_code"));
    assert_eq!(files, [root.join("index/integer.rs")]);
}

#[test]
fn an_upward_import_is_found() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("store")).unwrap();
    let bad = "use crate::{error::Error, engine::core::Engine};\nfn f() { let _ = crate::handle::tenant::x(); }\nfn g() { ring::digest(); }";
    fs::write(directory.path().join("store/bad.rs"), bad).unwrap();
    assert_eq!(violations(directory.path()).1.len(), 3);
}
