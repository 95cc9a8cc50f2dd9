//! Types that hold secrets do not print, write or copy them: read off the source, so that a new type is held to it too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// Every name in a type, and whether it stands behind an `Arc`.
#[derive(Default)]
struct Names {
    found: Vec<(String, bool)>,
    shared: bool,
}

impl<'ast> Visit<'ast> for Names {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        let (before, name) = (self.shared, segment.ident.to_string());
        self.shared |= name == "Arc";
        self.found.push((name, before));
        visit::visit_path_segment(self, segment);
        self.shared = before;
    }
}

fn names(ty: &syn::Type) -> Vec<(String, bool)> {
    let mut names = Names::default();
    names.visit_type(ty);
    names.found
}

/// What a type is made of and what it can do.
#[derive(Default)]
struct Type {
    /// Names in its fields, and whether they are behind an `Arc`.
    fields: Vec<(String, bool)>,
    /// Traits by derivation.
    derives: BTreeSet<String>,
    /// Traits by hand.
    implements: BTreeSet<String>,
}

#[derive(Default)]
struct Types(BTreeMap<String, Type>);

impl Types {
    fn add<'a>(
        &mut self,
        name: &syn::Ident,
        attributes: &[syn::Attribute],
        fields: impl Iterator<Item = &'a syn::Field>,
    ) {
        let found = self.0.entry(name.to_string()).or_default();
        found.fields.extend(fields.flat_map(|field| names(&field.ty)));
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
            attribute
                .parse_nested_meta(|meta| {
                    found.derives.extend(meta.path.segments.last().map(|segment| segment.ident.to_string()));
                    Ok(())
                })
                .unwrap();
        }
    }

    fn of(root: &Path) -> Self {
        let mut types = Self::default();
        for file in sources(root) {
            types.visit_file(&syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap());
        }
        types
    }

    /// The types that hold a secret, by themselves or through others; and of those the ones that hold it unshared.
    fn holding(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let roots = || BTreeSet::from(["Secret".to_owned(), "Zeroizing".to_owned()]);
        let spread = |shared_too: bool| {
            let mut holding = roots();
            loop {
                let before = holding.len();
                for (name, found) in &self.0 {
                    if found.fields.iter().any(|(field, shared)| (shared_too || !shared) && holding.contains(field)) {
                        holding.insert(name.clone());
                    }
                }
                if holding.len() == before {
                    return holding;
                }
            }
        };
        (spread(true), spread(false))
    }

    fn leaks(&self) -> Vec<String> {
        let (holding, unshared) = self.holding();
        let mut leaks = Vec::new();
        for name in &holding {
            let Some(found) = self.0.get(name) else { continue };
            let can = |name: &str| found.derives.contains(name) || found.implements.contains(name);
            for forbidden in ["Serialize", "Display", "ToString", "LowerHex", "PartialEq", "Deref", "AsRef"] {
                if can(forbidden) {
                    leaks.push(format!("{name} is {forbidden}"));
                }
            }
            if unshared.contains(name) && can("Clone") {
                leaks.push(format!("{name} is Clone"));
            }
            // `Zeroizing` prints what it holds, and an array would.
            let open = found.fields.iter().any(|(field, _)| field == "Zeroizing") || name == "Secret";
            if found.derives.contains("Debug") && open {
                leaks.push(format!("{name} derives Debug"));
            }
        }
        leaks
    }
}

impl<'ast> Visit<'ast> for Types {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.add(&item.ident, &item.attrs, item.fields.iter());
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.add(&item.ident, &item.attrs, item.variants.iter().flat_map(|variant| variant.fields.iter()));
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let (Some((_, path, _)), syn::Type::Path(ty)) = (&item.trait_, &*item.self_ty) {
            let name = |path: &syn::Path| path.segments.last().unwrap().ident.to_string();
            self.0.entry(name(&ty.path)).or_default().implements.insert(name(path));
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn no_type_that_holds_a_secret_gives_it_away() {
    let types = Types::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let (holding, _) = types.holding();
    for known in [
        "RootKey",
        "EngineKey",
        "CatalogKey",
        "TenantKey",
        "CredentialKey",
        "UserSecret",
        "Credential",
        "SecretText",
        "Passphrase",
    ] {
        assert!(holding.contains(known), "{known} is not seen to hold a secret");
    }
    let leaks = types.leaks();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn a_leak_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let bad = "#[derive(Debug, Clone)] struct Open { bytes: Zeroizing<Vec<u8>> }
        #[derive(Debug, Serialize)] struct Through { inner: Open }
        impl std::fmt::Display for Shared {}
        #[derive(Clone, Debug)] struct Shared(Arc<Open>);
        #[derive(Debug, Clone, Serialize)] struct Harmless(u8);";
    fs::write(directory.path().join("bad.rs"), bad).unwrap();
    let leaks = Types::of(directory.path()).leaks();
    let expected = ["Open is Clone", "Open derives Debug", "Shared is Display", "Through is Serialize"];
    assert_eq!(leaks, expected);
}

/// In a process of its own, since it cannot be taken back.
#[cfg(target_os = "linux")]
#[test]
fn a_hardened_process_cannot_be_dumped() {
    const HARDEN: &str = "WATERTIGHT_TEST_HARDEN";
    use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit, setrlimit};
    if std::env::var(HARDEN).is_ok() {
        let done = watertight::harden_process();
        assert!(done.no_core_dumps && done.not_dumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        return;
    }
    // Something to take away.
    let before = getrlimit(Resource::Core);
    let raised = rustix::process::Rlimit { current: before.maximum, maximum: before.maximum };
    setrlimit(Resource::Core, raised).unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_hardened_process_cannot_be_dumped", "--nocapture"])
        .env(HARDEN, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
