//! A unique text in every field, and then everything that the engine says or writes searched for it: errors, log lines
//! at trace level, `Debug` of every public type, audit entries, files. What is searched for must be found where it does
//! lie open, or the search shows nothing.

mod support;

use std::collections::BTreeSet;
use std::fmt::{Debug, Display, Write};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde_json::json;
use support::sim_disk::SimDisk;
use support::world::World;
use tracing::field::{Field, Visit};
use tracing::span;
use watertight::disk::Disk;
use watertight::testing::TestIssuer;
use watertight::*;

const DATA: &str = "/data";

/// What is no secret of anybody in particular, but belongs to a tenant: in no file, log line or error.
const CONTENT: [&str; 21] = [
    "canary.text",
    "canary.content.value",
    "canary.content.name",
    "canary.metadata.name",
    "canary.metadata.value",
    "canary.key",
    "canary.private.key",
    "canary.namespace",
    "canary.private.namespace",
    "canary.description",
    "canary.idempotency",
    "canary.credential.metadata.name",
    "canary.credential.metadata.value",
    "CANARY_CREDENTIAL",
    "canary.plan",
    "canary.subject",
    "canary.operator",
    "canary.tenant",
    "canary.owner",
    "canary.model",
    "https://canary.issuer/",
];

/// What nobody may ever see but who gave it: not even in plaintext files.
const SECRET: [&str; 4] =
    ["canary of a credential", "canary of the one before", "canary of the passphrase", "canary of the provider"];

/// What is given and not kept.
const PASSING: [&str; 3] = ["canary.question", "canary.template", "canary.bad"];

/// Numbers that no function gives out.
const NOT_PRINTED: [&str; 2] = ["EngineId", "Epoch"];

fn tokens() -> &'static Mutex<Vec<String>> {
    static TOKENS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    &TOKENS
}

/// Which of these are in a text, in any of the forms in which bytes are printed.
fn found<'a>(text: &str, canaries: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let forms = |canary: &str| {
        let bytes = canary.as_bytes();
        [
            canary.to_owned(),
            bytes.iter().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", "),
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ]
    };
    let hit = |canary: &&str| forms(canary).iter().any(|form| text.contains(form.as_str()));
    canaries.into_iter().filter(hit).map(str::to_owned).collect()
}

/// Everything that is logged, whoever logs it.
struct Log;

static LINES: LazyLock<Mutex<String>> = LazyLock::new(Mutex::default);

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut lines = LINES.lock().unwrap();
        lines.push_str(attributes.metadata().name());
        attributes.record(&mut Fields(&mut lines));
        lines.push('\n');
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut Fields(&mut LINES.lock().unwrap()));
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut lines = LINES.lock().unwrap();
        lines.push_str(event.metadata().target());
        event.record(&mut Fields(&mut lines));
        lines.push('\n');
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// What was printed, by the type that printed it.
#[derive(Default)]
struct Told {
    types: BTreeSet<&'static str>,
    text: String,
}

macro_rules! tell {
    ($told:expr, $($kind:ident: $value:expr),* $(,)?) => {$(
        let value = $value;
        $told.types.insert(stringify!($kind));
        let _ = writeln!($told.text, "{}: {:?}", stringify!($kind), value);
    )*};
}

/// The errors that were met, in both forms.
#[derive(Default)]
struct Errors {
    count: usize,
    kinds: BTreeSet<String>,
    text: String,
}

impl Errors {
    /// What is not refused after all does not count.
    fn met<T>(&mut self, answer: Result<T>) {
        if let Err(error) = answer {
            self.add(&error);
        }
    }

    fn add(&mut self, error: &(impl Debug + Display)) {
        self.count += 1;
        let debug = format!("{error:?}");
        let reason = debug.split_once("reason: ").map_or(debug.as_str(), |(_, reason)| reason);
        self.kinds.extend(reason.split(|c: char| !c.is_alphanumeric()).next().map(str::to_owned));
        let _ = writeln!(self.text, "{error} {debug}");
    }
}

struct Provider;

impl RootKeyProvider for Provider {
    fn name(&self) -> &str {
        "kms"
    }
    fn wrap_key(&self, _: &[u8; 32]) -> Result<Vec<u8>, ProviderError> {
        panic!("canary of the provider");
    }
    fn unwrap_key(&self, _: &[u8], _: &mut [u8; 32]) -> Result<(), ProviderError> {
        Err(ProviderError::Refused)
    }
}

fn root_bytes() -> [u8; 32] {
    *b"canary of the root key, 32 bytes"
}

fn root() -> RootKey {
    RootKey::from_bytes(root_bytes()).unwrap()
}

fn passphrase() -> RootKey {
    RootKey::from_passphrase("canary of the passphrase".to_owned()).unwrap()
}

fn open(disk: &SimDisk, plaintext: bool, key: RootKey) -> Result<World> {
    let builder = Engine::builder(DATA).root_key(key).danger().disk(Arc::new(disk.clone()) as Arc<dyn Disk>);
    let builder = if plaintext { builder.danger().plaintext_files() } else { builder };
    let (engine, authority) = builder.open()?;
    Ok(World { engine, authority })
}

fn memory(key: &str) -> Memory {
    Memory::new(key)
        .text("canary.text")
        .content(json!({"canary.content.name": "canary.content.value"}))
        .metadata("canary.metadata.name", "canary.metadata.value")
        .model("canary.model")
        .vector(vec![1.0, 0.0])
}

fn credential(secret: &str) -> Credential {
    Credential::new(secret).metadata("canary.credential.metadata.name", "canary.credential.metadata.value")
}

/// Puts a canary into every field there is.
fn fill(world: &World) -> TenantHandle {
    let operator = world.engine.operator(&world.authority.attest_operator("canary.operator").unwrap()).unwrap();
    let spec = TenantSpec::new("canary.tenant").unwrap().plan("canary.plan").trusts(Issuer::authority());
    let spec = spec.trusts(Issuer::new("https://canary.issuer/").unwrap());
    operator.provision(spec.owner(UserId::new(Issuer::authority(), "canary.owner").unwrap())).unwrap();
    operator.provision(TenantSpec::new("other").unwrap().trusts(Issuer::authority())).unwrap();
    let handle = world.handle("canary.tenant", "canary.subject").unwrap();
    let settings = NamespaceSettings::new().model("canary.model").dimensions(2).description("canary.description");
    let shared = handle.memories("canary.namespace").unwrap();
    shared.create(&settings).unwrap();
    shared.once("canary.idempotency").unwrap().put(memory("canary.key")).unwrap();
    let private = handle.private("canary.private.namespace").unwrap();
    private.put(memory("canary.private.key")).unwrap();
    let vault = handle.credentials();
    vault.put("CANARY_CREDENTIAL", &credential("canary of the one before")).unwrap();
    let next = credential("canary of a credential");
    vault.rotate("CANARY_CREDENTIAL", &next, Duration::from_secs(3_600)).unwrap();
    handle
}

fn on_disk(disk: &SimDisk) -> BTreeSet<&'static str> {
    let files: Vec<_> = disk.files().into_iter().map(|path| (path.clone(), disk.bytes(&path).unwrap())).collect();
    let all = CONTENT.into_iter().chain(SECRET).chain(PASSING);
    let is_there = |canary: &&str| {
        files.iter().any(|(path, bytes)| {
            path.to_str().unwrap().contains(*canary)
                || bytes.windows(canary.len()).any(|window| window == canary.as_bytes())
        })
    };
    all.filter(is_there).collect()
}

/// Every kind of refusal that can be had by asking.
fn refusals(world: &World, handle: &TenantHandle, errors: &mut Errors) {
    let operator = world.operator();
    let shared = handle.memories("canary.namespace").unwrap();
    let vault = handle.credentials();
    let other = world.handle("other", "canary.subject").unwrap();
    let nobody = world.engine.tenant(&world.identity("canary.tenant", "canary.subject", Scopes::NONE)).unwrap();
    let question = Recall::about("canary.question");
    for text in ["canary.bad\n", "", &"canary.bad".repeat(1_000), "canary.bad/..", "canary.bad é"] {
        errors.met(TenantId::new(text));
        errors.met(Issuer::new(text).and_then(|_| UserId::new(Issuer::authority(), text)));
        errors.met(Namespace::new(text));
        errors.met(handle.memories(text));
        errors.met(vault.put(text, &credential("canary of a credential")));
        errors.met(vault.resolve(&format!("${{{{ user.credentials.{text} }}}} canary.template")));
    }
    errors.met(shared.put(memory(&"canary.bad".repeat(100))));
    errors.met(shared.get("canary.bad"));
    errors.met(shared.delete("canary.bad"));
    errors.met(shared.put(memory("canary.key").if_version(77)));
    errors.met(shared.patch(&Patch::new("canary.bad", json!({"canary.bad": 1}))));
    errors.met(shared.put(memory("canary.key").vector(vec![1.0; 3])));
    errors.met(shared.put(memory("canary.key").vector(vec![f32::NAN; 2])));
    errors.met(shared.put(memory("canary.key").text("canary.text".repeat(100_000))));
    errors.met(shared.put(memory("canary.key").metadata("canary.bad".repeat(50), "canary.bad")));
    errors.met(shared.put(memory("canary.key").metadata("n", "canary.bad".repeat(500))));
    errors.met(shared.recall(&question));
    errors.met(shared.recall(&Recall::vector(&[1.0, 0.0, 1.0])));
    errors.met(shared.once(&"canary.idempotency".repeat(50)));
    errors.met(shared.once("canary.idempotency").unwrap().put(memory("canary.bad")));
    errors.met(shared.create(&NamespaceSettings::new().description("canary.description".repeat(100))));
    errors.met(shared.create(&NamespaceSettings::new().description("canary.bad")));
    errors.met(shared.list(&List::new().after(Cursor::from_text("canary.bad"))));
    errors.met(shared.changes(Some(&FeedPosition::from_text("canary.bad")), 10));
    errors.met(serde_json::from_str::<Filter>("{\"canary.bad\": 1}").map_err(|_| reason()));
    errors.met(handle.transact(|t| {
        t.memories("canary.namespace")?.put(memory("canary.key"))?;
        t.abort::<()>()
    }));
    errors.met(vault.put("CANARY_CREDENTIAL", &Credential::new("canary of a credential".repeat(5_000))));
    errors.met(vault.put("CANARY_CREDENTIAL", &credential("")));
    errors.met(
        vault.put("CANARY_CREDENTIAL", &credential("canary of a credential").expires_at(Timestamp::from_seconds(1))),
    );
    errors.met(vault.put("X", &credential("canary of a credential").metadata("canary.bad".repeat(20), "x")));
    errors.met(vault.rotate("CANARY_OTHER", &credential("canary of a credential"), Duration::from_secs(1)));
    errors.met(vault.rotate("CANARY_CREDENTIAL", &credential("canary of a credential"), Duration::ZERO));
    errors.met(vault.with_secret("CANARY_OTHER", |_| ()));
    errors.met(vault.resolve("canary.template ${{ user.credentials.CANARY_CREDENTIAL"));
    errors.met(vault.resolve("canary.template ${{ bob.credentials.CANARY_CREDENTIAL }}"));
    errors.met(vault.resolve_env([("canary.bad", "${{ user.credentials.CANARY_OTHER }}")]));
    errors.met(other.memories("canary.namespace").unwrap().get("canary.key"));
    errors.met(other.credentials().with_secret("CANARY_CREDENTIAL", |_| ()));
    errors.met(nobody.memories("canary.namespace").unwrap().get("canary.key"));
    errors.met(nobody.credentials().with_secret("CANARY_CREDENTIAL", |_| ()));
    errors.met(operator.provision(TenantSpec::new("canary.tenant").unwrap()));
    errors.met(operator.provision(TenantSpec::new("fresh").unwrap().plan("canary.plan".repeat(100))));
    errors.met(operator.purge(&TenantId::new("canary.bad").unwrap()));
    errors.met(operator.rotate_engine_key(&passphrase(), |_| ControlFlow::Continue(())));
    errors.met(operator.rotate_root_key(&RootKey::from_provider(Arc::new(Provider)).unwrap()));
    errors.met(operator.retire_engine_key(1));
    errors.met(RootKey::from_passphrase("canary.bad".to_owned()));
    errors.met(RootKey::from_passphrase("canary of the passphrase".repeat(100)));
    errors.met(RootKey::from_env("canary.bad"));
    errors.met(RootKey::from_file("/nowhere/canary.bad"));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root.key");
    fs::write(&path, "canary of the root key in a file").unwrap();
    errors.met(RootKey::from_file(&path).and_then(|_| RootKey::from_bytes([1; 32])));
    errors.met(Jwks::from_json("{\"keys\": [{\"kty\": \"canary.bad\"}]}"));
    errors.met(Jwks::from_json("canary.bad"));
    for token in tokens().lock().unwrap().iter() {
        errors.met(world.engine.verify(token));
        errors.met(world.engine.verify_operator(token));
    }
    for error in [ProviderError::Unavailable, ProviderError::Refused] {
        errors.add(&error);
    }
    for error in [EmbedError::Refused, EmbedError::Unavailable { retry_after: None }] {
        errors.add(&error);
    }
}

/// serde's own message is not ours and names what it did not expect; that the input is refused is all that counts.
fn reason() -> Error {
    TenantId::new("").unwrap_err()
}

/// A device that fails, in each way and at each of the first operations, and files that are damaged.
fn faults(base: &SimDisk, errors: &mut Errors) {
    let plans = [
        |disk: &SimDisk, after| disk.fail_write("", after),
        |disk: &SimDisk, after| disk.fail_sync("", after),
        |disk: &SimDisk, after| disk.fail_read("", after),
        |disk: &SimDisk, after| disk.fail_name("", after),
        |disk: &SimDisk, after| disk.fail_write(".1.key", after),
    ];
    for plan in plans {
        for after in 0..10 {
            let disk = base.kill();
            let Ok(world) = open(&disk, false, root()) else { panic!("the base opens") };
            plan(&disk, after);
            let handle = world.handle("canary.tenant", "canary.subject");
            let mut answers = vec![handle.as_ref().map(|_| ()).map_err(Clone::clone)];
            if let Ok(handle) = &handle {
                let shared = handle.memories("canary.namespace").unwrap();
                answers.push(shared.get("canary.key").map(|_| ()));
                answers.push(shared.put(memory("canary.key")).map(|_| ()));
                answers.push(handle.credentials().with_secret("CANARY_CREDENTIAL", |_| ()));
            }
            answers.push(world.operator().rotate_engine_key(&root(), |_| ControlFlow::Continue(())).map(|_| ()));
            answers.push(world.operator().purge(&TenantId::new("canary.tenant").unwrap()).map(drop));
            disk.clear_faults();
            answers.into_iter().filter_map(Result::err).for_each(|error| errors.add(&error));
            // What was left half done is finished, with a line that names the tenant.
            drop((handle, open(&disk.crash(), false, root()).unwrap()));
        }
    }
    for path in base.files() {
        let bytes = base.bytes(&path).unwrap();
        for at in [0, bytes.len() / 2, bytes.len().saturating_sub(1)] {
            let disk = base.kill();
            let mut bad = bytes.clone();
            // The length of both header copies and of many pages.
            bad.iter_mut().skip(at).step_by(400).for_each(|byte| *byte ^= 0x55);
            disk.set_bytes(&path, bad);
            let asked = open(&disk, false, root()).and_then(|world| {
                let handle = world.handle("canary.tenant", "canary.subject")?;
                handle.memories("canary.namespace")?.get("canary.key")?;
                handle.credentials().with_secret("CANARY_CREDENTIAL", |_| ())
            });
            asked.err().iter().for_each(|error| errors.add(error));
        }
    }
    for key in [passphrase(), RootKey::generate().unwrap(), RootKey::from_provider(Arc::new(Provider)).unwrap()] {
        errors.met(open(&base.kill(), false, key));
    }
}

/// Every public type that is a value, printed.
fn told(world: World, handle: &TenantHandle, issuer: &TestIssuer, token: &str) -> Told {
    let mut told = Told::default();
    let operator = world.operator();
    let (shared, vault) = (handle.memories("canary.namespace").unwrap(), handle.credentials());
    let info = operator.inspect(&TenantId::new("canary.tenant").unwrap()).unwrap();
    let verifier = issuer.verifier().unwrap();
    let claims = verifier.check(token, Timestamp::from_seconds(1_800_000_000)).unwrap();
    let hits = shared.recall(&Recall::vector(&[1.0, 0.0]).explain()).unwrap();
    let across = recall_across(&[&shared], &Recall::vector(&[1.0, 0.0])).unwrap();
    let page = shared.list(&List::new().limit(1)).unwrap();
    let feed = shared.changes(None, 10).unwrap();
    let record = shared.get("canary.key").unwrap();
    let role = Role::new("reader-of-notes").unwrap().allow(Scopes::READ, "notes").unwrap();
    let builder = || Engine::builder("data");
    tell!(told,
        RootKey: root(), RootKey: passphrase(), RootKey: RootKey::from_provider(Arc::new(Provider)).unwrap(),
        EngineBuilder: builder(), EngineBuilder: builder().root_key(passphrase()).older_root_key(root()),
        Danger: builder().root_key(root()).danger(), NeedsRootKey: builder(), Ready: builder().root_key(root()),
        Engine: &world.engine, EngineStats: world.engine.stats(), Authority: &world.authority,
        VerifiedOperator: world.authority.attest_operator("canary.operator").unwrap(),
        Attestation: Attestation::new("canary.tenant", "canary.subject").unwrap(),
        VerifiedIdentity: world.identity("canary.tenant", "canary.subject", Scopes::ALL),
        Operator: &operator, TenantSpec: TenantSpec::new("canary.tenant").unwrap(), TenantInfo: &info,
        OperatorAuditEntry: operator.audit(1, 100).unwrap(), ChainHead: operator.verify_audit().unwrap(),
        EngineKeyUse: operator.engine_keys().unwrap(),
        KeyRotation: operator.rotate_engine_key(&root(), |_| ControlFlow::Continue(())).unwrap(),
        Incarnation: info.incarnation, TenantId: &info.tenant, Issuer: &info.issuers, UserId: &info.owners,
        TenantHandle: handle, TenantStats: handle.stats().unwrap(), Histogram: handle.stats().unwrap().open_micros,
        Usage: handle.usage().unwrap(), Swept: handle.sweep().unwrap(), Scopes: handle.scopes(),
        NamespaceInfo: handle.namespaces().unwrap(), Namespace: shared.namespace(), Memories: &shared,
        NamespaceSettings: NamespaceSettings::new().model("canary.model"), NamespaceUpdate: NamespaceUpdate::new(),
        Memory: memory("canary.key"), MemoryRecord: &record, MemoryId: record.id, Json: &record.content,
        Patch: Patch::new("k", json!({})), PutOutcome: shared.put(memory("another")).unwrap(),
        Deleted: shared.delete_where(&Selection::all().key_prefix("another")).unwrap(), Selection: Selection::all(),
        Filter: Filter::eq("canary.metadata.name", "canary.metadata.value"), List: List::new(), Cursor: &page.next,
        Page: &page, Listing: shared.iter(List::new()), FeedPage: &feed, FeedPosition: &feed.next,
        Recall: Recall::about("canary.question"), Hit: &hits, Explanation: &hits[0].explanation, AcrossHit: &across,
        Credentials: &vault, Credential: credential("canary of a credential"), CredentialInfo: vault.list().unwrap(),
        SecretText: vault.resolve("${{ user.credentials.CANARY_CREDENTIAL }}").unwrap(),
        Audit: handle.audit(), AuditEntry: handle.audit().entries(1, 100).unwrap(),
        Jwks: Jwks::from_json(&issuer.jwks_json()).unwrap(), JwtVerifier: &verifier, TokenClaims: &claims,
        HashingEmbedder: HashingEmbedder::new(8).unwrap(), SystemClock: SystemClock, Timestamp: record.created_at,
        TestClock: TestClock::at(Timestamp::from_seconds(1)), Error: TenantId::new("").unwrap_err(),
        Hardening: Hardening::default(), Attenuation: Attenuation::new().shared("notes").unwrap(),
        Decision: handle.explain(Scopes::READ, None).unwrap(), NamespacePattern: NamespacePattern::new("notes.*").unwrap(),
        Impersonation: Impersonation::new(info.tenant.clone(), handle.user().clone(), "a reason"),
        Policy: handle.policy().unwrap(), Role: &role, Rule: role.rules(), WhoAmI: handle.whoami().unwrap()
    );
    let printed = vault.with_secret("CANARY_CREDENTIAL", |secret| secret.len()).unwrap();
    assert_eq!(printed, SECRET[0].len());
    handle
        .transact(|t| {
            let notes = t.memories("canary.namespace")?;
            tell!(told, Transaction: t, TransactionMemories: &notes);
            Ok(())
        })
        .unwrap();
    let (keys, spec) = (handle.api_keys(), ApiKeySpec::new("canary.label").unwrap().scopes(Scopes::READ));
    let made = keys.create(&spec).unwrap();
    assert!(!format!("{made:?}").contains(made.expose()), "an API key is printed");
    tell!(told,
        ApiKeys: &keys, ApiKeySpec: &spec, NewApiKey: &made, ApiKeyInfo: keys.list().unwrap(), ApiKeyId: made.info.id,
        ClaimPath: ClaimPath::pointer("/canary/claim").unwrap(), KeyFetchError: KeyFetchError,
        CompoundId: CompoundId::new(&info.tenant, "canary.subject").unwrap(),
        KeySource: KeySource::from(Jwks::from_json(&issuer.jwks_json()).unwrap()),
        Membership: world.identity("canary.tenant", "canary.subject", Scopes::ALL).memberships().to_vec(),
        Revocation: Revocation::everyone(),
    );
    let reembedding = shared.reembedding("canary.other.model").unwrap();
    let progress = reembedding.step(|memories| Ok(vec![Some(vec![0.5; 3]); memories.len()])).unwrap();
    tell!(told,
        IndexSettings: IndexSettings::new(), IndexStatus: handle.index_status().unwrap(),
        Reembedding: &reembedding, ReembedProgress: progress,
    );
    let mut rekeying = Vec::new();
    let receipt = operator
        .rekey(&info.tenant, |progress| {
            rekeying.push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
    let leaver = UserId::new(issuer.issuer().clone(), "canary.subject").unwrap();
    let erasure = handle.erase_user(&leaver, Authored::Stays, |_| ControlFlow::Continue(())).unwrap();
    tell!(told,
        RekeyProgress: rekeying, ReceiptFacts: operator.verify_receipt(&receipt).unwrap(), Receipt: &receipt,
        ErasedUser: &erasure.erased, Erasure: &erasure,
    );
    operator.purge(&info.tenant).unwrap();
    tell!(told,
        Tombstone: operator.tombstone(info.incarnation).unwrap(), CloseReport: world.engine.close().unwrap(),
    );
    told
}

/// The structs that `lib.rs` gives out.
fn exported() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    fn names(tree: &syn::UseTree, found: &mut BTreeSet<String>) {
        match tree {
            syn::UseTree::Path(path) => names(&path.tree, found),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| names(item, found)),
            syn::UseTree::Name(name) => drop(found.insert(name.ident.to_string())),
            _ => {}
        }
    }
    fn structs(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                structs(&path, found);
                continue;
            }
            for item in syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap().items {
                if let syn::Item::Struct(item) = item {
                    found.insert(item.ident.to_string());
                }
            }
        }
    }
    let (mut public, mut all) = (BTreeSet::new(), BTreeSet::new());
    for item in syn::parse_file(&fs::read_to_string(root.join("lib.rs")).unwrap()).unwrap().items {
        if let syn::Item::Use(item) = item {
            names(&item.tree, &mut public);
        }
    }
    structs(&root, &mut all);
    public.intersection(&all).cloned().collect()
}

#[test]
fn nothing_says_or_writes_what_is_secret() {
    tracing::subscriber::set_global_default(Log).unwrap();
    let issuer = TestIssuer::new(Issuer::new("https://canary.issuer/").unwrap(), "https://api.test").unwrap();
    let alice = UserId::new(issuer.issuer().clone(), "canary.subject").unwrap();
    let at = Timestamp::from_seconds(1_800_000_000);
    let tenant = TenantId::new("canary.tenant").unwrap();
    let token = issuer.token(&tenant, &alice, Scopes::ALL, at, Duration::from_secs(600)).unwrap();
    *tokens().lock().unwrap() = vec![token.clone(), format!("{token}canary.bad"), "canary.bad".to_owned()];

    // Where files are plaintext the search finds all that is kept, but no credential.
    let plain = SimDisk::new(1);
    let world = open(&plain, true, root()).unwrap();
    fill(&world);
    let there = on_disk(&plain);
    for canary in CONTENT {
        assert!(there.contains(canary), "{canary} is not found where it lies open");
    }
    for canary in SECRET.into_iter().chain(PASSING) {
        assert!(!there.contains(canary), "{canary} is on disk");
    }
    world.engine.close().unwrap();

    let disk = SimDisk::new(1);
    let world = open(&disk, false, root()).unwrap();
    let handle = fill(&world);
    let mut errors = Errors::default();
    refusals(&world, &handle, &mut errors);
    assert_eq!(on_disk(&disk), BTreeSet::new(), "on disk");
    faults(&disk.crash(), &mut errors);
    assert!(errors.count > 100 && errors.kinds.len() > 20, "{} errors, {:?}", errors.count, errors.kinds);

    // Another admin reads the trail; nothing private is told, and no content.
    let trail = format!("{:?}", world.handle("canary.tenant", "root").unwrap().audit().entries(1, 1_000).unwrap());
    let open_in_trail = ["canary.key", "canary.namespace", "canary.subject"];
    for canary in open_in_trail {
        assert!(trail.contains(canary), "{canary} belongs into the trail");
    }
    let hidden = || CONTENT.into_iter().chain(SECRET).chain(PASSING).filter(|canary| !open_in_trail.contains(canary));
    assert_eq!(found(&trail, hidden()), Vec::<String>::new(), "in the trail: {trail}");
    let operators = world.engine.operator(&world.authority.attest_operator("canary.operator").unwrap()).unwrap();
    let trail = format!("{:?}", operators.audit(1, 1_000).unwrap());
    assert_eq!(found(&trail, CONTENT.into_iter().chain(SECRET)), ["canary.operator", "canary.tenant"]);

    let root_key = root_bytes();
    let root_key = std::str::from_utf8(&root_key).unwrap();
    let secrets = || SECRET.into_iter().chain([root_key, token.as_str(), token.rsplit('.').next().unwrap()]);
    let told = told(world, &handle, &issuer, &token);
    assert_eq!(found(&told.text, secrets()), Vec::<String>::new(), "printed");
    let printed = |name: &String| told.types.contains(name.as_str()) || NOT_PRINTED.contains(&name.as_str());
    let missing: Vec<_> = exported().into_iter().filter(|name| !printed(name)).collect();
    assert!(missing.is_empty(), "public types that are not printed here: {missing:?}");

    let never = || CONTENT.into_iter().chain(PASSING).chain(secrets());
    assert_eq!(found(&errors.text, never()), ["canary.model"], "in errors: {}", errors.text);
    // Lines carry their tenant.
    let lines = LINES.lock().unwrap();
    assert!(lines.lines().count() > 10, "hardly anything was logged: {lines}");
    assert_eq!(found(&lines, never()), ["canary.tenant"], "in the log: {lines}");
    assert_eq!(on_disk(&disk), BTreeSet::new(), "on disk in the end");
}
