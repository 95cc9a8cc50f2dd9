//! Durable single puts by 1, 4, 16 and 64 callers, of one tenant and of as many tenants: against one commit each on a
//! bare redb file (two-phase, as the engine commits) and on SQLite (WAL, synchronous FULL), in alternating rounds.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use redb::TableDefinition;
use rusqlite::Connection;
use watertight::{Attestation, Engine, Issuer, Memories, Memory, RootKey, Scopes, TenantSpec};
use watertight_comparison::{Effort, Latencies, directory, median, readable, run};

const TABLE: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("memories");
/// What a put of ours writes beside the record, in tables of their own: the key, the change, the usage, the audit entry
/// and the facts of the file, in bytes.
const BESIDE: [(TableDefinition<'static, &str, &[u8]>, usize); 5] = [
    (TableDefinition::new("keys"), 8),
    (TableDefinition::new("changes"), 48),
    (TableDefinition::new("usage"), 32),
    (TableDefinition::new("audit"), 192),
    (TableDefinition::new("facts"), 16),
];
const ROW_BYTES: usize = 1_024;
const PRELOADED: usize = 10_000;

fn key(caller: usize, number: usize) -> String {
    format!("memory-{caller:03}-{number:08}")
}

struct Bare(redb::Database);

impl Bare {
    fn new(path: &Path) -> Self {
        let database = redb::Builder::new().set_cache_size(16 << 20).create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for number in 0..PRELOADED {
                table.insert(key(999, number).as_str(), [1; ROW_BYTES].as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
        Self(database)
    }

    fn put(&self, key: &str) {
        let mut transaction = self.0.begin_write().unwrap();
        transaction.set_two_phase_commit(true);
        transaction.open_table(TABLE).unwrap().insert(key, [2; ROW_BYTES].as_slice()).unwrap();
        transaction.commit().unwrap();
    }

    /// As many rows in as many tables as the engine writes, without encryption: what the rows alone cost.
    fn put_beside(&self, key: &str) {
        let mut transaction = self.0.begin_write().unwrap();
        transaction.set_two_phase_commit(true);
        transaction.open_table(TABLE).unwrap().insert(key, [2; ROW_BYTES].as_slice()).unwrap();
        for (table, bytes) in BESIDE {
            transaction.open_table(table).unwrap().insert(key, vec![3; bytes].as_slice()).unwrap();
        }
        transaction.commit().unwrap();
    }
}

/// A connection for each caller, as SQLite wants it.
struct Sqlite(Vec<Mutex<Connection>>);

impl Sqlite {
    fn new(path: &Path, callers: usize) -> Self {
        let connect = || {
            let connection = Connection::open(path).unwrap();
            connection.busy_timeout(Duration::from_secs(60)).unwrap();
            connection.pragma_update(None, "journal_mode", "WAL").unwrap();
            connection.pragma_update(None, "synchronous", "FULL").unwrap();
            connection.execute_batch("CREATE TABLE IF NOT EXISTS memories(k TEXT PRIMARY KEY, v BLOB)").unwrap();
            connection
        };
        let mut first = connect();
        let transaction = first.transaction().unwrap();
        for number in 0..PRELOADED {
            let row = (key(999, number), [1_u8; ROW_BYTES]);
            transaction.execute("INSERT OR REPLACE INTO memories VALUES(?,?)", row).unwrap();
        }
        transaction.commit().unwrap();
        Self((0..callers).map(|_| Mutex::new(connect())).collect())
    }

    fn put(&self, caller: usize, key: &str) {
        let connection = self.0[caller].lock().unwrap();
        let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO memories VALUES(?,?)").unwrap();
        insert.execute((key, [2_u8; ROW_BYTES])).unwrap();
    }
}

struct Ours {
    tenants: Vec<Memories>,
    _engine: Engine,
}

impl Ours {
    fn new(path: &Path, tenants: usize) -> Self {
        let key = RootKey::from_bytes(std::array::from_fn(|i| i as u8)).unwrap();
        let (engine, authority) = Engine::builder(path).root_key(key).tenant_cache_bytes(16 << 20).open().unwrap();
        let operator = engine.operator(&authority.attest_operator("bench").unwrap()).unwrap();
        let tenants = (0..tenants)
            .map(|number| {
                let name = format!("tenant-{number}");
                operator.provision(TenantSpec::new(&name).unwrap().trusts(Issuer::authority())).unwrap();
                let who = Attestation::new(&name, "alice").unwrap().scopes(Scopes::ALL);
                let who = who.lifetime(Duration::from_secs(3_600));
                let notes = engine.tenant(&authority.attest(who).unwrap()).unwrap().memories("notes").unwrap();
                let rows = if number == 0 { PRELOADED } else { 100 };
                notes.put_many((0..rows).map(|number| memory(&super_key(number))).collect()).unwrap();
                notes
            })
            .collect();
        Self { tenants, _engine: engine }
    }

    fn put(&self, tenant: usize, key: &str) {
        self.tenants[tenant].put(memory(key)).unwrap();
    }
}

fn super_key(number: usize) -> String {
    key(999, number)
}

fn memory(key: &str) -> Memory {
    Memory::new(key).text("x".repeat(940)).metadata("lang", "en").metadata("priority", 2)
}

fn main() {
    let effort = Effort::from_args();
    println!("durable puts of 1 KiB; {} rounds of {:?} each, alternating; medians", effort.rounds(), effort.round());
    for callers in [1, 4, 16, 64] {
        let directory = directory();
        let at = |name: &str| directory.path().join(name);
        let bare = Bare::new(&at("bare.redb"));
        let beside = Bare::new(&at("beside.redb"));
        let sqlite = Sqlite::new(&at("sqlite.db"), callers);
        let one = Ours::new(&at("one"), 1);
        let many = Ours::new(&at("many"), callers);
        type Put<'a> = Box<dyn Fn(usize, &str) + Sync + 'a>;
        let contenders: [(&str, Put<'_>); 5] = [
            ("bare redb, one commit each", Box::new(|_, key| bare.put(key))),
            ("bare redb, the rows of a put", Box::new(|_, key| beside.put_beside(key))),
            ("SQLite FULL, one commit each", Box::new(|caller, key| sqlite.put(caller, key))),
            ("one tenant", Box::new(|_, key| one.put(0, key))),
            ("a tenant for each caller", Box::new(|caller, key| many.put(caller, key))),
        ];
        let mut rates = vec![Vec::new(); contenders.len()];
        let mut latencies = vec![Latencies::default(); contenders.len()];
        for round in 0..effort.rounds() {
            for step in 0..contenders.len() {
                let at = if round % 2 == 0 { step } else { contenders.len() - 1 - step };
                let put = &contenders[at].1;
                let done = run(callers, effort.round(), &|caller, number| {
                    put(caller, &key(caller, round * 1_000_000 + number));
                });
                rates[at].push(done.per_second);
                latencies[at].merge(done.latencies);
            }
        }
        println!("\n{callers} caller{}", if callers == 1 { "" } else { "s" });
        println!("  {:<30} {:>10} {:>10} {:>10} {:>16}", "", "per second", "p50", "p99", "to bare redb");
        for (at, (name, _)) in contenders.iter().enumerate() {
            let ratio = median(rates[at].iter().zip(&rates[0]).map(|(rate, base)| rate / base).collect());
            let p50 = latencies[at].quantile(0.5);
            let slower = p50 as f64 / latencies[0].quantile(0.5) as f64;
            let p99 = readable(latencies[at].quantile(0.99));
            let rate = median(rates[at].clone());
            println!("  {name:<30} {rate:>10.0} {:>10} {p99:>10} {ratio:>7.2}x, p50 {slower:.2}x", readable(p50));
        }
    }
}
