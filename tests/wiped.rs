//! Keys and secrets are wiped from memory: a process does what uses them, in stages, and another one reads its memory at
//! each. What is looked for is derived in that other process, so that looking for it leaves nothing behind.
#![cfg(target_os = "linux")]

#[path = "wiped/keys.rs"]
mod keys;
#[path = "wiped/memory.rs"]
mod memory;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use memory::Needles;
use redb::{Database, ReadableDatabase, TableDefinition};
use support::world::World;
use watertight::{
    ApiKeySpec, Credential, Engine, Incarnation, Issuer, List, Memory, ProviderError, Result, RootKey, RootKeyProvider,
    Scopes, TenantId, UserId,
};
use zeroize::{Zeroize, Zeroizing};

const DIRECTORY: &str = "WATERTIGHT_TEST_DIRECTORY";
const ROOT_KEY: &str = "WATERTIGHT_TEST_ROOT_KEY";
const SALTS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("user_salts");
const KEPT: &str = "a credential that is kept, 3d51b0c6";
const PUT: &str = "a credential that is put, 92e07f4a";

/// What there may be at each stage, and how often at most. Of everything else there must be nothing.
const STAGES: [(&str, &[(&str, usize)]); 19] = [
    ("start", &[]),
    ("root key from a file", &[("root key", 1)]),
    // A page key is there as itself and as the beginning of its key schedule.
    ("engine open, root key dropped", &[("engine key 1", 1), ("catalog key", 1), ("catalog page key", 2)]),
    (
        "tenant in use",
        &[
            ("engine key 1", 1),
            ("catalog key", 1),
            ("catalog page key", 2),
            ("data key 1", 1),
            ("page key 1", 2),
            ("cursor key 1", 1),
        ],
    ),
    (
        "tenant re-keyed",
        &[
            ("engine key 1", 1),
            ("catalog key", 1),
            ("catalog page key", 2),
            ("data key 2", 1),
            ("page key 2", 2),
            ("cursor key 2", 1),
        ],
    ),
    (
        "engine key rotated",
        &[
            ("engine key 2", 1),
            ("catalog key", 1),
            ("catalog page key", 2),
            ("data key 2", 1),
            ("page key 2", 2),
            ("cursor key 2", 1),
        ],
    ),
    ("tenant purged, its handle kept", &[("engine key 2", 1), ("catalog key", 1), ("catalog page key", 2)]),
    ("engine closed, its handles kept", &[("engine key 2", 1), ("catalog key", 1), ("catalog page key", 1)]),
    ("all dropped", &[]),
    ("root key from bytes", &[("root key", 1)]),
    ("root key from bytes dropped", &[]),
    ("root key from the environment", &[("root key", 1)]),
    ("root key from the environment dropped", &[]),
    ("passphrase", &[("passphrase", 1)]),
    (
        "engine open, passphrase dropped",
        &[
            ("engine key of a passphrase", 1),
            ("catalog key of a passphrase", 1),
            ("data key of a passphrase", 1),
            ("cursor key of a passphrase", 1),
        ],
    ),
    ("engine of a passphrase dropped", &[]),
    (
        "engine of a provider open",
        &[("engine key of a provider", 1), ("catalog key of a provider", 1), ("catalog page key of a provider", 2)],
    ),
    ("engine of a provider dropped", &[]),
    // The control: it must be found, once it was not wiped.
    ("root key forgotten", &[("root key", 1)]),
];

/// The environment of the child has it for as long as the child lives. No second copy comes from reading it.
const ALWAYS: (&str, usize) = ("root key, as text", 1);

/// A key service whose key is a mask.
struct Mask;

impl RootKeyProvider for Mask {
    fn name(&self) -> &str {
        "mask"
    }
    fn wrap_key(&self, secret: &[u8; 32]) -> Result<Vec<u8>, ProviderError> {
        Ok(secret.iter().map(|byte| byte ^ 0x5A).collect())
    }
    fn unwrap_key(&self, wrapped: &[u8], secret: &mut [u8; 32]) -> Result<(), ProviderError> {
        secret.iter_mut().zip(wrapped).for_each(|(to, from)| *to = from ^ 0x5A);
        Ok(())
    }
}

struct Child {
    directory: PathBuf,
}

impl Child {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Lets the parent look.
    fn stage(&self, name: &str) {
        assert!(STAGES.iter().any(|(stage, _)| *stage == name), "{name}");
        println!("\nstage {name}");
        io::stdout().flush().unwrap();
        io::stdin().lock().read_line(&mut String::new()).unwrap();
    }

    /// A file of secret text, as a careful caller reads it.
    fn secret(&self, name: &str) -> Zeroizing<Vec<u8>> {
        let mut file = fs::OpenOptions::new().read(true).open(self.path(name)).unwrap();
        let mut bytes = Zeroizing::new(vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()]);
        file.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn secret_text(&self, name: &str) -> String {
        let mut bytes = self.secret(name);
        String::from_utf8(std::mem::take(&mut *bytes)).unwrap()
    }

    fn use_credentials(&self, world: &World) {
        let vault = world.handle("acme", "alice").unwrap().credentials();
        vault.put("PUT", &Credential::new(self.secret_text("put"))).unwrap();
        for name in ["KEPT", "PUT"] {
            assert!(vault.with_secret(name, |secret| secret.starts_with(b"a credential")).unwrap());
        }
        let resolved = vault.resolve("<${{ user.credentials.KEPT }}, ${{ user.credentials.PUT }}>").unwrap();
        assert!(resolved.expose().contains("that is put"));
    }

    fn sealed(&self) {
        let root = RootKey::from_file(self.path("root")).unwrap();
        self.stage("root key from a file");
        let (engine, authority) = Engine::builder(self.path("sealed")).root_key(root).open().unwrap();
        let world = World { engine, authority };
        self.stage("engine open, root key dropped");
        let acme = TenantId::new("acme").unwrap();
        let handle = world.handle("acme", "alice").unwrap();
        let notes = handle.memories("notes").unwrap();
        for number in 0..50 {
            notes.put(Memory::new(format!("{number}")).text("text".repeat(300))).unwrap();
        }
        let page = notes.list(&List::new().limit(1)).unwrap();
        notes.list(&List::new().limit(1).after(page.next.unwrap())).unwrap();
        self.use_credentials(&world);
        {
            let made = handle.api_keys().create(&ApiKeySpec::new("key").unwrap().scopes(Scopes::READ)).unwrap();
            fs::write(self.path("API key"), made.expose()).unwrap();
        }
        {
            let text = Zeroizing::new(self.secret_text("API key"));
            world.engine.tenant(&world.engine.verify(&text).unwrap()).unwrap().namespaces().unwrap();
        }
        self.stage("tenant in use");
        let go_on = |_| ControlFlow::Continue(());
        let receipt = world.operator().rekey(&acme, go_on).unwrap();
        world.operator().verify_receipt(&receipt).unwrap();
        notes.put(Memory::new("k")).unwrap();
        self.stage("tenant re-keyed");
        {
            let root = RootKey::from_file(self.path("root")).unwrap();
            world.operator().rotate_engine_key(&root, |_| ControlFlow::Continue(())).unwrap();
        }
        world.operator().retire_engine_key(1).unwrap();
        self.stage("engine key rotated");
        world.operator().purge(&acme).unwrap();
        self.stage("tenant purged, its handle kept");
        assert!(world.engine.close().unwrap().is_clean());
        self.stage("engine closed, its handles kept");
        drop((handle, notes, world));
    }

    fn root_keys(&self) {
        {
            let mut bytes = Box::new([0; 32]);
            bytes.copy_from_slice(&self.secret("root"));
            // An array is copied wherever it goes: the copies on the stack are the caller's.
            let root = RootKey::from_bytes(*bytes).unwrap();
            bytes.zeroize();
            overwrite_stack();
            self.stage("root key from bytes");
            drop(root);
        }
        self.stage("root key from bytes dropped");
        {
            let _root = RootKey::from_env(ROOT_KEY).unwrap();
            self.stage("root key from the environment");
        }
        self.stage("root key from the environment dropped");
    }

    fn other_engines(&self) {
        {
            let root = RootKey::from_passphrase(self.secret_text("passphrase")).unwrap();
            self.stage("passphrase");
            let builder = Engine::builder(self.path("plain")).root_key(root).danger().plaintext_files();
            let (engine, authority) = builder.open().unwrap();
            let world = World { engine, authority };
            self.use_credentials(&world);
            self.stage("engine open, passphrase dropped");
        }
        self.stage("engine of a passphrase dropped");
        {
            let root = RootKey::from_provider(Arc::new(Mask)).unwrap();
            let (_engine, _) = Engine::builder(self.path("provided")).root_key(root).open().unwrap();
            self.stage("engine of a provider open");
        }
        self.stage("engine of a provider dropped");
    }
}

/// What nobody wipes, in memory that was given back.
fn forget(secret: &[u8]) {
    let mut copy = vec![0; 4_000];
    copy[2_000..2_000 + secret.len()].copy_from_slice(secret);
    drop(black_box(copy));
}

#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0_u8; 256 * 1_024]);
}

/// Not a test of its own: the body of the child process. Without the variable it does nothing.
#[test]
fn child_entry() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let child = Child { directory: directory.into() };
    child.stage("start");
    child.sealed();
    child.stage("all dropped");
    child.root_keys();
    child.other_engines();
    forget(&child.secret("root"));
    child.stage("root key forgotten");
}

/// What the child works on, and what is known of it.
struct Scene {
    directory: tempfile::TempDir,
    root: Vec<u8>,
    passphrase: String,
    incarnations: BTreeMap<&'static str, Incarnation>,
    needles: Needles,
}

impl Scene {
    fn new() -> Self {
        let mut random = [0; 48];
        getrandom::fill(&mut random).unwrap();
        let root = random[..32].to_vec();
        let passphrase = format!("correct horse {}", hex(&random[32..]));
        let directory = tempfile::tempdir().unwrap();
        let mut scene = Self { directory, root, passphrase, incarnations: BTreeMap::new(), needles: Vec::new() };
        for (name, bytes) in
            [("root", &scene.root[..]), ("passphrase", scene.passphrase.as_bytes()), ("put", PUT.as_bytes())]
        {
            let mut private = fs::OpenOptions::new();
            private.write(true).create_new(true).mode(0o600).open(scene.path(name)).unwrap().write_all(bytes).unwrap();
        }
        fs::set_permissions(scene.directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let phrase = || RootKey::from_passphrase(scene.passphrase.clone()).unwrap();
        let roots = [
            ("sealed", RootKey::from_file(scene.path("root")).unwrap()),
            ("plain", phrase()),
            ("provided", RootKey::from_provider(Arc::new(Mask)).unwrap()),
        ];
        for (name, root) in roots {
            let builder = Engine::builder(scene.path(name)).root_key(root);
            let opened = if name == "plain" { builder.danger().plaintext_files().open() } else { builder.open() };
            let (engine, authority) = opened.unwrap();
            let world = World { engine, authority };
            world.provision("acme").unwrap();
            world.handle("acme", "alice").unwrap().credentials().put("KEPT", &Credential::new(KEPT)).unwrap();
            let acme = world.operator().inspect(&TenantId::new("acme").unwrap()).unwrap();
            scene.incarnations.insert(name, acme.incarnation);
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn add(&mut self, name: impl Into<String>, needle: impl Into<Vec<u8>>) {
        let name = name.into();
        if !self.needles.iter().any(|(known, _)| *known == name) {
            self.needles.push((name, needle.into()));
        }
    }

    /// What can be known before the child begins.
    fn learn(&mut self) {
        self.add("root key", self.root.clone());
        self.add("root key, as text", hex(&self.root));
        self.add("passphrase", self.passphrase.clone());
        self.add("credential that is kept", KEPT);
        self.add("credential that is put", PUT);

        let (plain, incarnation) = (self.path("plain"), self.incarnations["plain"]);
        let file = fs::read(plain.join("keys/engine.1.key")).unwrap();
        let (costs, salt) = (&file[52..64], &file[64..96]);
        let [memory, passes, lanes] = [0, 4, 8].map(|at| u32::from_le_bytes(costs[at..at + 4].try_into().unwrap()));
        let mut secret = vec![0; 32];
        let params = Params::new(memory, passes, lanes, Some(32)).unwrap();
        let mut blocks = vec![Block::new(); params.block_count()];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(self.passphrase.as_bytes(), salt, &mut secret, &mut blocks)
            .unwrap();
        self.add("key of the passphrase", secret.clone());
        let (engine, catalog) = keys::engine_keys(&plain, 1, &secret).unwrap();
        let data = keys::data_key(&plain, incarnation, 1, &engine, 1).unwrap();
        self.add("engine key of a passphrase", engine);
        self.add("catalog key of a passphrase", catalog);
        self.add("cursor key of a passphrase", keys::of_tenant(&data, incarnation, 1)[1].clone());
        let user = keys::of_user(&data, &salt_of_the_user(&plain, incarnation), incarnation, &alice());
        self.add("user secret", user);
        self.add("data key of a passphrase", data);

        let provided = self.path("provided");
        let file = fs::read(provided.join("keys/engine.1.key")).unwrap();
        let wrapped = &file[52 + 2 + 4 + 2..][..32];
        let secret: Vec<u8> = wrapped.iter().map(|byte| byte ^ 0x5A).collect();
        let (engine, catalog) = keys::engine_keys(&provided, 1, &secret).unwrap();
        self.add("secret of the provider", secret);
        self.add("engine key of a provider", engine);
        self.add("catalog page key of a provider", keys::of_engine(&provided, &catalog)[0].clone());
        self.add("catalog key of a provider", catalog);
    }

    /// What there is by now of the engine whose keys change.
    fn learn_more(&mut self) {
        let (sealed, incarnation) = (self.path("sealed"), self.incarnations["sealed"]);
        for version in [1, 2] {
            let Some((engine, catalog)) = keys::engine_keys(&sealed, version, &self.root) else { continue };
            for epoch in [1, 2] {
                let Some(data) = keys::data_key(&sealed, incarnation, epoch, &engine, version) else { continue };
                let [pages, cursors] = keys::of_tenant(&data, incarnation, epoch);
                self.add(format!("data key {epoch}"), data);
                self.add(format!("page key {epoch}"), pages);
                self.add(format!("cursor key {epoch}"), cursors);
            }
            let [pages, receipts, hashes] = keys::of_engine(&sealed, &catalog);
            self.add("catalog page key", pages);
            self.add("receipt key", receipts);
            self.add("key of the hashes of API keys", hashes);
            self.add("catalog key", catalog);
            self.add(format!("engine key {version}"), engine);
        }
        if let Ok(text) = fs::read_to_string(self.path("API key")) {
            self.add("API key", keys::from_hex(&text[20..84]));
            self.add("API key, as text", &text.as_bytes()[20..84]);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn alice() -> UserId {
    UserId::new(Issuer::authority(), "alice").unwrap()
}

/// Of the one user of a plaintext engine's tenant.
fn salt_of_the_user(directory: &Path, incarnation: Incarnation) -> Vec<u8> {
    let name = incarnation.to_string();
    let file = directory.join("tenants").join(&name[..2]).join(&name).join("data.1.redb");
    let table = Database::open(file).unwrap().begin_read().unwrap().open_table(SALTS).unwrap();
    table.get(0).unwrap().or_else(|| table.get(1).unwrap()).unwrap().value().to_vec()
}

#[test]
fn of_every_key_and_secret_there_is_only_what_must_be_and_nothing_when_it_was_dropped() {
    let mut scene = Scene::new();
    scene.learn();
    scene.learn_more();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_entry", "--nocapture", "--test-threads", "1"])
        .env(DIRECTORY, scene.directory.path())
        .env(ROOT_KEY, hex(&scene.root))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut goes_on = child.stdin.take().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    let stages = lines.filter_map(|line| line.strip_prefix("stage ").map(str::to_owned));
    let (mut wrong, mut seen) = (Vec::new(), Vec::new());
    for stage in stages {
        scene.learn_more();
        let found = memory::found(child.id(), &scene.needles);
        let (_, allowed) = STAGES.iter().find(|(name, _)| *name == stage).unwrap();
        for ((name, _), places) in scene.needles.iter().zip(&found) {
            let most =
                allowed.iter().chain([&ALWAYS]).find(|(allowed, _)| allowed == name).map_or(0, |(_, most)| *most);
            // What is used must be there, or this test would see nothing.
            let is_missing = most > 0 && places.is_empty();
            if places.len() > most || is_missing {
                wrong.push(format!("{stage}: {name}: {} of {most}: {places:?}", places.len()));
            }
        }
        seen.push(stage);
        goes_on.write_all(b"\n").unwrap();
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(seen, STAGES.map(|(stage, _)| stage));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
