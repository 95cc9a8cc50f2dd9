//! Putting and using a credential, and the share of it that is cryptography. A use is counted durably before the secret
//! is lent, so that both are commits; the same once more without waiting for the disk.

mod support;

use std::hint::black_box;
use std::sync::Arc;

use support::{Effort, Files, Target, World, compare, contender, data, directory, load, unsynced};
use watertight::crypto_internals::Envelopes;
use watertight::disk::{Disk, SystemDisk};
use watertight::{Credential, Credentials, Memories, Memory};

const CACHE_BYTES: usize = 16 << 20;
/// As long as an access token of a well-known service.
const SECRET: &[u8] = b"ghp_0123456789abcdefghijklmnopqrstuvwxyz";

fn main() {
    let mut criterion = support::criterion();
    if support::is_listing() {
        return;
    }
    let effort = Effort::from_args();
    let envelopes = Envelopes::new().unwrap();
    let envelope = envelopes.seal(SECRET).unwrap();
    let seal = || drop(black_box(envelopes.seal(black_box(SECRET)).unwrap()));
    let open = || {
        black_box(envelopes.open(black_box(&envelope)).unwrap());
    };
    let put = |vault: &Credentials| vault.put("TOKEN", &Credential::new(SECRET)).map(|_| ()).unwrap();
    let get = |vault: &Credentials| {
        black_box(vault.with_secret("TOKEN", |secret| secret.len()).unwrap());
    };
    let text = std::str::from_utf8(SECRET).unwrap();
    let memory = |notes: &Memories| notes.put(Memory::new("TOKEN").text(text)).map(|_| ()).unwrap();

    let disks: [(&str, Arc<dyn Disk>); 2] = [("durable", Arc::new(SystemDisk)), ("syncs left out", unsynced())];
    for (name, disk) in disks {
        let directory = directory();
        load(&data(&directory), Files::Encrypted, effort.of(1_000, 20));
        let world = World::open(&data(&directory), Files::Encrypted, CACHE_BYTES, disk);
        let (notes, vault) = (world.notes(), world.tenant.credentials());
        put(&vault);

        let mut group = criterion.benchmark_group(format!("credentials {name}"));
        group.sample_size(10);
        group.bench_function("put", |b| b.iter(|| put(&vault)));
        group.bench_function("get", |b| b.iter(|| get(&vault)));
        group.finish();

        compare(
            &format!("put of a credential of 40 bytes, {name}: its cryptography, and a memory of 40 bytes, against it"),
            effort.of(601, 1),
            1,
            vec![
                (contender("put of a credential", || put(&vault)), Target::None),
                (contender("of that, cryptography", seal), Target::None),
                (contender("put of a memory", || memory(&notes)), Target::None),
            ],
        );
        compare(
            &format!("use of a credential of 40 bytes, {name}: its cryptography against it"),
            effort.of(601, 1),
            1,
            vec![
                (contender("use of a credential", || get(&vault)), Target::None),
                (contender("of that, cryptography", open), Target::None),
            ],
        );
    }
    criterion.final_summary();
}
