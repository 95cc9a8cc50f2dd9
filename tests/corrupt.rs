//! Corrupt, truncated, foreign and hostile files: a typed error for the tenant they belong to, never a panic or
//! wrong data, and nothing at all for the others.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use support::filled::{
    DATA, Rng, Rows, TENANTS, all_well, ask, everything, files_of, filled, memory, notes, open, rows_of,
};
use support::sim_disk::SimDisk;
use support::world::World;
use watertight::disk::SystemDisk;
use watertight::{Engine, Error, ErrorKind, Memory, Reason, Recall, RootKey, TenantHandle, TenantId};

const ROWS: usize = 300;
const SLOT: usize = 4_608;
/// Where the header copies and the data slots begin.
const HEADERS: [usize; 2] = [0, 8_192];
const FIRST_SLOT: usize = 16_384;

static SEALED: LazyLock<SimDisk> = LazyLock::new(|| filled(ROWS, false));
static PLAIN: LazyLock<SimDisk> = LazyLock::new(|| filled(ROWS, true));

/// A copy of the filled disk, and where the tenants' files are on it.
struct Case {
    disk: SimDisk,
    /// Data file and key file of acme, then of zoo.
    data: [PathBuf; 2],
    key: [PathBuf; 2],
}

impl Case {
    fn new(base: &SimDisk, plaintext: bool) -> Self {
        let disk = base.kill();
        let world = open(&disk, plaintext).unwrap();
        let [(data_a, key_a), (data_z, key_z)] = TENANTS.map(|tenant| files_of(&world, tenant));
        drop(world);
        Self { disk, data: [data_a, data_z], key: [key_a, key_z] }
    }

    fn sealed() -> Self {
        Self::new(&SEALED, false)
    }

    fn acme(&self) -> Vec<u8> {
        self.disk.bytes(&self.data[0]).unwrap()
    }

    /// What opening acme answers, after everything that opens has answered rightly.
    fn opens(&self, context: &str) -> Result<TenantHandle, Error> {
        let world = open(&self.disk, false).unwrap_or_else(|error| panic!("{context}: {error}"));
        all_well(&world, "zoo", &rows_of("zoo", ROWS), context);
        let handle = world.handle("acme", "alice")?;
        let errors = ask(&handle, &rows_of("acme", ROWS)).unwrap_or_else(|why| panic!("{context}: {why}"));
        errors.into_iter().next().map_or(Ok(handle), Err)
    }

    fn refused(&self, kind: ErrorKind, context: &str) {
        match self.opens(context) {
            Err(error) if error.kind() == kind => {}
            other => panic!("{context}: {other:?} instead of {kind:?}"),
        }
    }

    /// The engine refuses to open and changes nothing.
    fn engine_refused(&self, context: &str) -> Error {
        let before = everything(&self.disk);
        let error = open(&self.disk, false).err().unwrap_or_else(|| panic!("{context}: it opened"));
        assert_eq!(everything(&self.disk), before, "{context}: something changed on disk");
        error
    }
}

/// Runs a case; a panic that comes out of the API is told with the case.
fn shielded(context: &str, case: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(case)) {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        panic!("{context}: {}", text.unwrap_or("a panic without text"));
    }
}

#[test]
fn one_damaged_header_copy_loses_nothing() {
    let case = Case::sealed();
    let whole = case.acme();
    // Ciphertext, nonce, tag, counter, logical length, reserve.
    for within in [0, 9, 4_095, 4_096, 4_119, 4_120, 4_135, 4_136, 4_143, 4_144, 4_151, 4_152, 4_607] {
        for copy in HEADERS {
            let mut bytes = whole.clone();
            bytes[copy + within] ^= 1;
            case.disk.set_bytes(&case.data[0], bytes);
            let context = format!("byte {within} of the copy at {copy}");
            let handle = case.opens(&context).unwrap_or_else(|error| panic!("{context}: {error}"));
            // Damage is mended by the next commit, not carried on.
            handle.memories("notes").unwrap().put(memory("key 0", &rows_of("acme", 1)["key 0"])).unwrap();
            drop(handle);
            let mut mended = case.acme();
            let other = HEADERS[usize::from(copy == HEADERS[0])];
            mended[other..other + SLOT].fill(0);
            case.disk.set_bytes(&case.data[0], mended);
            case.opens(&context).unwrap_or_else(|error| panic!("{context}, then the other copy: {error}"));
        }
    }
}

#[test]
fn damage_to_both_header_copies_is_reported() {
    let case = Case::sealed();
    let whole = case.acme();
    let zoo = case.disk.bytes(&case.data[1]).unwrap();
    let header = |from: &[u8], copy: usize| from[HEADERS[copy]..HEADERS[copy] + SLOT].to_vec();
    let mut rng = Rng(1);
    let foreign = [header(&zoo, 0), header(&zoo, 1)];
    let exchanged = [header(&whole, 1), header(&whole, 0)];
    let garbage = [rng.bytes(SLOT), rng.bytes(SLOT)];
    let pages = [whole[FIRST_SLOT..][..SLOT].to_vec(), whole[FIRST_SLOT + SLOT..][..SLOT].to_vec()];
    for (what, copies) in [
        ("both all zero", [vec![0; SLOT], vec![0; SLOT]]),
        ("both garbage", garbage),
        ("exchanged", exchanged),
        ("both another tenant's", foreign),
        ("both data pages", pages),
    ] {
        let mut bytes = whole.clone();
        for (at, copy) in HEADERS.into_iter().zip(&copies) {
            bytes[at..at + SLOT].copy_from_slice(copy);
        }
        case.disk.set_bytes(&case.data[0], bytes);
        case.refused(ErrorKind::Damaged, what);
        // Either of them alone loses nothing.
        for (at, copy) in HEADERS.into_iter().zip(&copies) {
            let mut bytes = whole.clone();
            bytes[at..at + SLOT].copy_from_slice(copy);
            case.disk.set_bytes(&case.data[0], bytes);
            case.opens(what).unwrap_or_else(|error| panic!("{what}, only the copy at {at}: {error}"));
        }
    }
    // Counter and length are outside the ciphertext: a forged one is no better than a damaged one.
    let mut bytes = whole.clone();
    for at in HEADERS {
        bytes[at + 4_136..at + 4_152].fill(0xff);
    }
    case.disk.set_bytes(&case.data[0], bytes);
    case.refused(ErrorKind::Damaged, "the largest counter and length");
    case.disk.set_bytes(&case.data[0], whole);
    case.opens("put back").unwrap();
}

#[test]
fn a_data_file_of_the_wrong_length_is_damaged_and_a_longer_one_is_not() {
    let case = Case::sealed();
    let whole = case.acme();
    let mut lengths = vec![0, 1, 4_607, 4_608, 8_191, 8_192, 12_800, 16_383, 16_384, FIRST_SLOT + SLOT];
    lengths.extend([whole.len() - SLOT, whole.len() - SLOT / 2, whole.len() - 1]);
    for length in lengths {
        case.disk.set_bytes(&case.data[0], whole[..length].to_vec());
        case.refused(ErrorKind::Damaged, &format!("cut to {length}"));
        assert_eq!(case.acme().len(), length, "a refused file was changed");
    }
    let mut rng = Rng(2);
    for more in [1, 511, SLOT, SLOT + 7, 40 * SLOT] {
        let context = format!("longer by {more}");
        let mut bytes = whole.clone();
        bytes.extend(rng.bytes(more));
        case.disk.set_bytes(&case.data[0], bytes);
        let handle = case.opens(&context).unwrap_or_else(|error| panic!("{context}: {error}"));
        // The file grows over the garbage, which must not become part of it.
        let notes = handle.memories("notes").unwrap();
        notes.put(memory("large", &"x".repeat(900_000))).unwrap();
        notes.delete("large").unwrap();
        drop((notes, handle));
        case.opens(&context).unwrap_or_else(|error| panic!("{context}, after a write: {error}"));
    }
    for (what, bytes) in [("all zero", vec![0; whole.len()]), ("garbage", rng.bytes(whole.len()))] {
        case.disk.set_bytes(&case.data[0], bytes);
        case.refused(ErrorKind::Damaged, what);
    }
}

#[test]
fn files_in_each_others_places_are_refused() {
    let case = Case::sealed();
    let catalog = Path::new(DATA).join("catalog.redb");
    let [acme, zoo] = &case.data;
    let [acme_key, zoo_key] = &case.key;
    let both_refused = |what: &str| {
        let world = open(&case.disk, false).unwrap();
        for tenant in TENANTS {
            let error = world.handle(tenant, "alice").map(|_| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {tenant}: {error}");
        }
    };
    case.disk.swap_raw(acme, zoo);
    both_refused("data files exchanged");
    case.disk.swap_raw(acme_key, zoo_key);
    both_refused("both exchanged");
    case.disk.swap_raw(acme, zoo);
    both_refused("key files exchanged");
    case.disk.swap_raw(acme_key, zoo_key);
    case.opens("all put back").unwrap();

    let whole = case.acme();
    case.disk.copy_raw(&catalog, acme);
    case.refused(ErrorKind::Damaged, "the catalog as data file");
    case.disk.set_bytes(acme, whole.clone());
    let kept = case.disk.bytes(&catalog).unwrap();
    case.disk.copy_raw(acme, &catalog);
    assert_eq!(case.engine_refused("a data file as catalog").kind(), ErrorKind::Damaged);
    case.disk.set_bytes(&catalog, kept);

    // Made by another engine under the same root key.
    let other = filled(3, false);
    let world = open(&other, false).unwrap();
    let (their_data, their_key) = files_of(&world, "acme");
    drop(world);
    case.disk.set_bytes(acme, other.bytes(their_data).unwrap());
    case.refused(ErrorKind::Damaged, "another engine's data file");
    let mine = case.disk.bytes(acme_key).unwrap();
    case.disk.set_bytes(acme_key, other.bytes(their_key).unwrap());
    case.refused(ErrorKind::Damaged, "another engine's data and key file");
    case.disk.set_bytes(acme_key, mine);
    case.disk.set_bytes(acme, whole);
    case.opens("all put back").unwrap();
}

#[test]
fn a_page_moved_within_its_file_or_from_another_tenant_is_never_read() {
    let case = Case::sealed();
    let whole = case.acme();
    let zoo = case.disk.bytes(&case.data[1]).unwrap();
    let slots = (whole.len() - FIRST_SLOT) / SLOT;
    let mut seen = 0;
    for (what, shift, from) in [("the next page", SLOT, &whole), ("the same page of zoo", 0, &zoo)] {
        let mut bytes = whole.clone();
        for slot in 0..slots - 1 {
            let at = FIRST_SLOT + slot * SLOT;
            if let Some(page) = from.get(at + shift..at + shift + SLOT) {
                bytes[at..at + SLOT].copy_from_slice(page);
            }
        }
        case.disk.set_bytes(&case.data[0], bytes);
        seen += usize::from(case.opens(what).is_err());
    }
    assert_eq!(seen, 2);
}

#[test]
fn every_damage_to_a_key_file_is_refused() {
    let case = Case::sealed();
    let [path, zoo_key] = &case.key;
    let whole = case.disk.bytes(path).unwrap();
    let world = open(&case.disk, false).unwrap();
    let refused = |bytes: Vec<u8>, what: &str| {
        case.disk.set_bytes(path, bytes);
        let error = world.handle("acme", "alice").map(|_| ()).unwrap_err();
        // Refused by itself, and not only because the data file does not open with it.
        let expected = matches!(error.reason(), Reason::KeyFileRefused(_) | Reason::FormatVersion { .. });
        assert!(expected || what.starts_with("extended"), "{what}: {error}");
        error
    };
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        refused(bytes, &format!("byte {at}"));
    }
    for length in 0..whole.len() {
        refused(whole[..length].to_vec(), &format!("cut to {length}"));
    }
    for length in [whole.len() + 1, 4_096, 4_097, 50_000_000] {
        let mut bytes = whole.clone();
        bytes.resize(length, 0);
        refused(bytes, &format!("extended to {length}"));
    }
    refused(case.disk.bytes(zoo_key).unwrap(), "another tenant's");
    let engines = case.disk.bytes("/data/keys/engine.1.key").unwrap();
    refused(engines[..whole.len()].to_vec(), "the engine's");
    // Epoch stands before the envelope of 128 bytes.
    let mut epoch = whole.clone();
    epoch[64] = 2;
    refused(epoch, "another epoch's");
    let mut later = whole.clone();
    later[8] = 9;
    assert_eq!(refused(later, "a later format").kind(), ErrorKind::Incompatible);
    case.disk.remove_raw(path);
    let error = world.handle("acme", "alice").map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyUnavailable);
    all_well(&world, "zoo", &rows_of("zoo", ROWS), "beside damaged keys");
    case.disk.set_bytes(path, whole);
    all_well(&world, "acme", &rows_of("acme", ROWS), "the key put back");
}

#[test]
fn a_missing_or_empty_data_file_is_never_made_anew() {
    let case = Case::sealed();
    let whole = case.acme();
    case.disk.set_bytes(&case.data[0], Vec::new());
    case.refused(ErrorKind::Damaged, "empty");
    assert_eq!(case.acme().len(), 0);
    case.disk.remove_raw(&case.data[0]);
    case.refused(ErrorKind::Damaged, "missing");
    assert_eq!(case.disk.bytes(&case.data[0]), None);
    case.disk.set_bytes(&case.data[0], whole);
    case.opens("put back").unwrap();
}

#[test]
fn an_engine_that_cannot_be_opened_is_left_as_it_is() {
    let case = Case::sealed();
    let at = |name: &str| Path::new(DATA).join(name);
    let (format, catalog, key) = (at("FORMAT"), at("catalog.redb"), at("keys/engine.1.key"));
    let mut rng = Rng(3);

    let before = everything(&case.disk);
    let builder = Engine::builder(DATA).root_key(RootKey::generate().unwrap());
    let wrong = builder.danger().disk(std::sync::Arc::new(case.disk.clone())).open().map(|_| ()).unwrap_err();
    assert_eq!(*wrong.reason(), Reason::RootKeyWrong);
    assert_eq!(everything(&case.disk), before, "a wrong root key changed something");

    for (path, kind) in
        [(&catalog, ErrorKind::Damaged), (&key, ErrorKind::KeyUnavailable), (&format, ErrorKind::Damaged)]
    {
        let whole = case.disk.bytes(path).unwrap();
        case.disk.remove_raw(path);
        assert_eq!(case.engine_refused(&format!("without {path:?}")).kind(), kind);
        for length in [0, 1, 7, 8, 11, 12, 15, 16, 31, 33, 175, whole.len() - 1] {
            if length < whole.len() {
                case.disk.set_bytes(path, whole[..length].to_vec());
                let error = case.engine_refused(&format!("{path:?} cut to {length}"));
                assert_eq!(error.kind(), ErrorKind::Damaged, "{path:?} cut to {length}: {error}");
            }
        }
        for length in [whole.len(), 5_000] {
            case.disk.set_bytes(path, rng.bytes(length));
            assert_eq!(case.engine_refused(&format!("{path:?} garbage")).kind(), ErrorKind::Damaged);
        }
        case.disk.set_bytes(path, whole);
    }
    for path in [&format, &key] {
        let whole = case.disk.bytes(path).unwrap();
        let mut long = whole.clone();
        long.push(0);
        case.disk.set_bytes(path, long);
        assert_eq!(case.engine_refused("longer by a byte").kind(), ErrorKind::Damaged);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            case.disk.set_bytes(path, bytes);
            case.engine_refused(&format!("bit {bit} of {path:?}"));
        }
        let mut later = whole.clone();
        later[8] = 9;
        case.disk.set_bytes(path, later);
        assert_eq!(case.engine_refused("a later format").kind(), ErrorKind::Incompatible);
        case.disk.set_bytes(path, whole);
    }
    case.opens("all put back").unwrap();
}

#[test]
fn a_directory_of_somebody_else_is_left_untouched() {
    for name in ["thesis.txt", "catalog.redb", "keys/engine.1.key", "tenants/x"] {
        let disk = SimDisk::new(1);
        disk.set_bytes(Path::new(DATA).join(name), b"mine".to_vec());
        let before = everything(&disk);
        let error = open(&disk, false).map(|_| ()).unwrap_err();
        assert!(matches!(error.reason(), Reason::ForeignFile(_)), "{name}: {error}");
        assert_eq!(everything(&disk), before, "{name}");
    }
}

/// One random damage to a file of sealed or plain pages; gives what it was.
fn damage(rng: &mut Rng, bytes: &mut [u8], other: &[u8], slot: usize) -> String {
    let slots = (bytes.len() / slot) as u64;
    let at = rng.below(slots) as usize * slot;
    match rng.below(7) {
        0 | 1 => {
            let bit = rng.below(bytes.len() as u64 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
            format!("bit {bit} flipped")
        }
        2 => {
            bytes[at..at + slot].copy_from_slice(&rng.bytes(slot));
            format!("garbage at {at}")
        }
        3 => {
            bytes[at..at + slot].fill(0);
            format!("zeros at {at}")
        }
        4 => {
            let from = rng.below(slots) as usize * slot;
            bytes.copy_within(from..from + slot, at);
            format!("the page at {from} copied to {at}")
        }
        5 if at + slot <= other.len() => {
            bytes[at..at + slot].copy_from_slice(&other[at..at + slot]);
            format!("the neighbour's page at {at}")
        }
        _ => {
            // Many pages at once, so that most questions meet one.
            let mut count = 0;
            for at in (0..bytes.len() - slot).step_by(slot) {
                if rng.below(3) == 0 {
                    bytes[at + rng.below(slot as u64) as usize] ^= 0x40;
                    count += 1;
                }
            }
            format!("{count} pages with a flipped bit")
        }
    }
}

/// Gives how many of the answers were errors.
fn random_damage(seed: u64, case: &Case, whole: &[u8], zoo: &[u8], rows: &[Rows; 2]) -> usize {
    let mut rng = Rng(seed);
    let mut bytes = whole.to_vec();
    // Pages start at 16,384; the header copies are damaged by the flipped bits.
    let mut what = damage(&mut rng, &mut bytes[FIRST_SLOT..], &zoo[FIRST_SLOT..], SLOT);
    if rng.below(8) == 0 {
        let copy = HEADERS[rng.below(2) as usize];
        bytes[copy + rng.below(SLOT as u64) as usize] ^= 1;
        what += &format!(" and the header copy at {copy}");
    }
    let live = rng.below(2) == 0;
    let context = format!("seed {seed}, live {live}, {what}");
    let mut errors = 0;
    shielded(&context, || {
        let world = if live {
            // Under an open tenant that has answered before.
            let world = open(&case.disk, false).unwrap();
            all_well(&world, "acme", &rows[0], &context);
            case.disk.set_bytes(&case.data[0], bytes);
            world
        } else {
            case.disk.set_bytes(&case.data[0], bytes);
            open(&case.disk, false).unwrap()
        };
        match world.handle("acme", "alice") {
            Ok(handle) => {
                errors += ask(&handle, &rows[0]).unwrap_or_else(|why| panic!("{why}")).len();
                let notes = handle.memories("notes").unwrap();
                let (mut now, mut unknown) = (rows[0].clone(), false);
                for key in ["key 7", "new"] {
                    let done = notes.put(memory(key, "changed")).map_err(|error| error.kind());
                    errors += usize::from(done.is_err());
                    match done {
                        Ok(_) => drop(now.insert(key.to_owned(), "changed".to_owned())),
                        Err(ErrorKind::Damaged | ErrorKind::Unavailable) => {}
                        // What the row shows now is what it must go on showing; where it cannot be read, only the
                        // neighbour is left to ask.
                        Err(ErrorKind::OutcomeUnknown) => match notes.get(key) {
                            Ok(found) => drop(now.insert(key.to_owned(), found.text.unwrap())),
                            Err(error) if error.kind() == ErrorKind::NotFound => assert_eq!(key, "new"),
                            Err(_) => unknown = true,
                        },
                        Err(kind) => panic!("{kind:?}"),
                    }
                }
                if !unknown {
                    errors += ask(&handle, &now).unwrap_or_else(|why| panic!("after puts: {why}")).len();
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                errors += 1;
            }
        }
        all_well(&world, "zoo", &rows[1], "the neighbour");
        world.engine.close().unwrap();
        case.disk.set_bytes(&case.data[0], whole.to_vec());
        let world = open(&case.disk, false).unwrap();
        all_well(&world, "acme", &rows[0], "put back");
    });
    errors
}

#[test]
fn random_damage_gives_right_answers_or_typed_errors() {
    let case = Case::sealed();
    let (whole, zoo) = (case.acme(), case.disk.bytes(&case.data[1]).unwrap());
    let rows = TENANTS.map(|tenant| rows_of(tenant, ROWS));
    let found: Vec<_> = (0..400).map(|seed| random_damage(seed, &case, &whole, &zoo, &rows)).collect();
    let noticed = found.iter().filter(|errors| **errors > 0).count();
    println!("{noticed} of {} damages met by a question, {} errors", found.len(), found.iter().sum::<usize>());
    assert!(noticed > 100, "only {noticed} damages were met by a question");
}

#[test]
fn random_damage_to_the_catalog_gives_right_answers_or_typed_errors() {
    let case = Case::sealed();
    let catalog = Path::new(DATA).join("catalog.redb");
    let (whole, other) = (case.disk.bytes(&catalog).unwrap(), case.acme());
    let mut noticed = 0;
    for seed in 0..150 {
        let mut rng = Rng(seed);
        let mut bytes = whole.clone();
        let what = damage(&mut rng, &mut bytes[FIRST_SLOT..], &other[FIRST_SLOT..], SLOT);
        let context = format!("seed {seed}, {what}");
        shielded(&context, || {
            case.disk.set_bytes(&catalog, bytes);
            let damaged = |error: Error| {
                assert!(matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unavailable), "{error}");
            };
            let mut failed = false;
            match open(&case.disk, false) {
                Ok(world) => {
                    for (at, tenant) in TENANTS.into_iter().enumerate() {
                        match world.handle(tenant, "alice") {
                            Ok(_) => {
                                let path = files_of(&world, tenant).0;
                                assert_eq!(path, case.data[at]);
                            }
                            Err(error) => {
                                damaged(error);
                                failed = true;
                            }
                        }
                    }
                    match world.operator().list(None, 10) {
                        Ok(list) => assert_eq!(list.len(), 2),
                        Err(error) => damaged(error),
                    }
                }
                Err(error) => {
                    damaged(error);
                    failed = true;
                }
            }
            noticed += usize::from(failed);
        });
        case.disk.set_bytes(&catalog, whole.clone());
    }
    println!("{noticed} of 150 damages noticed");
    assert!(noticed > 20, "only {noticed} of 150 damages noticed");
    case.opens("put back").unwrap();
}

#[test]
fn plaintext_files_of_other_tenants_are_refused() {
    let case = Case::new(&PLAIN, true);
    case.disk.swap_raw(&case.data[0], &case.data[1]);
    let world = open(&case.disk, true).unwrap();
    for tenant in TENANTS {
        let error = world.handle(tenant, "alice").map(|_| ()).unwrap_err();
        assert!(matches!(error.reason(), Reason::ForeignFile(_)), "{tenant}: {error}");
    }
    drop(world);
    case.disk.swap_raw(&case.data[0], &case.data[1]);
    assert_eq!(open(&case.disk, false).map(|_| ()).unwrap_err().kind(), ErrorKind::InvalidInput);
    let world = open(&case.disk, true).unwrap();
    for tenant in TENANTS {
        all_well(&world, tenant, &rows_of(tenant, ROWS), "put back");
    }
}

/// Nothing authenticates plaintext pages, so answers may be wrong; but the neighbour's are not, and redb's panics
/// stay inside.
#[test]
fn random_damage_to_plaintext_files_never_panics_and_harms_nobody_else() {
    let case = Case::new(&PLAIN, true);
    let (whole, zoo) = (case.acme(), case.disk.bytes(&case.data[1]).unwrap());
    let rows = TENANTS.map(|tenant| rows_of(tenant, ROWS));
    let (send, progress) = mpsc::channel();
    let worker = std::thread::spawn(move || {
        for seed in 0..200 {
            let mut rng = Rng(seed);
            let mut bytes = whole.clone();
            let what = damage(&mut rng, &mut bytes, &zoo, 4_096);
            let context = format!("seed {seed}, {what}");
            let _ = send.send(context.clone());
            shielded(&context, || {
                case.disk.set_bytes(&case.data[0], bytes);
                let world = open(&case.disk, true).unwrap();
                if let Ok(handle) = world.handle("acme", "alice") {
                    let _ = ask(&handle, &rows[0]);
                    let notes = handle.memories("notes").unwrap();
                    let _ = notes.put(memory("key 7", "changed"));
                    let _ = notes.delete("key 8");
                    let _ = ask(&handle, &rows[0]);
                }
                all_well(&world, "zoo", &rows[1], "the neighbour");
                world.engine.close().unwrap();
            });
        }
    });
    // Not a measurement: it turns a hang into a failure that names its case.
    let mut last = String::new();
    loop {
        match progress.recv_timeout(Duration::from_secs(60)) {
            Ok(context) => last = context,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs: {last}"),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

#[test]
fn no_plaintext_is_on_disk_unless_it_was_asked_for() {
    const CANARIES: [&str; 7] = [
        "canary-key-5b1d",
        "canary-text-77c0",
        "canary-content-9f3e",
        "canary-name-4cd2",
        "canary-value-e81a",
        "canary-space-0b6f",
        "canary-user-d240",
    ];
    let [key, text, content, name, value, space, user] = CANARIES;
    for plaintext in [false, true] {
        let disk = SimDisk::new(9);
        let world = open(&disk, plaintext).unwrap();
        world.provision("acme").unwrap();
        let handle = world.handle("acme", user).unwrap();
        let notes = [handle.memories(space).unwrap(), handle.private(space).unwrap()];
        for notes in &notes {
            let memory = memory(key, text).content(serde_json::json!({ "c": content })).metadata(name, value);
            notes.put(memory).unwrap();
            notes.get(key).unwrap();
        }
        // Before the close, after it, and what a crash leaves.
        let live = everything(&disk);
        let crashed = everything(&disk.crash());
        drop((notes, handle, world));
        for (when, files) in [("open", live), ("crashed", crashed), ("closed", everything(&disk))] {
            for canary in CANARIES {
                let holds = |bytes: &[u8]| bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
                let found: Vec<_> = files.iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect();
                assert_eq!(!found.is_empty(), plaintext, "{when}: {canary} in {found:?}");
            }
        }
    }
}

/// On the operating system's disk.
#[cfg(unix)]
mod real_disk {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Arc;

    use super::support::world::World;
    use super::*;

    struct Real {
        /// Of the test, with the data directory in it.
        outside: tempfile::TempDir,
        data: PathBuf,
        tenant: PathBuf,
        key: PathBuf,
    }

    impl Real {
        fn new() -> Self {
            let outside = tempfile::tempdir().unwrap();
            let data = outside.path().join("data");
            let world = World::at(&data);
            world.provision("acme").unwrap();
            world.provision("zoo").unwrap();
            notes(&world, "acme").unwrap().put(memory("k", "t")).unwrap();
            let below = |path: PathBuf| data.join(path.strip_prefix(DATA).unwrap());
            let (tenant, key) = files_of(&world, "acme");
            let (tenant, key) = (below(tenant), below(key));
            drop(world);
            Self { outside, data, tenant, key }
        }

        fn open(&self) -> Result<World, Error> {
            World::open(&self.data, Arc::new(SystemDisk))
        }

        /// Opens the engine, then acme; the first refusal of the two.
        fn refusal(&self) -> Error {
            match self.open() {
                Ok(world) => world.handle("acme", "alice").map(|_| ()).unwrap_err(),
                Err(error) => error,
            }
        }

        fn is_well(&self) {
            let world = self.open().unwrap();
            assert_eq!(notes(&world, "acme").unwrap().get("k").unwrap().text.as_deref(), Some("t"));
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the attacker, not the engine")]
    fn move_file(from: &Path, to: &Path) {
        fs::rename(from, to).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "this is the attacker, not the engine")]
    fn unlink(path: &Path) {
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn links_and_other_things_in_place_of_files_are_refused() {
        let real = Real::new();
        let places = ["FORMAT", "LOCK", "catalog.redb", "keys/engine.1.key"].map(|name| real.data.join(name));
        for path in places.iter().chain([&real.tenant, &real.key]) {
            let kept = real.outside.path().join("kept");
            move_file(path, &kept);
            let bytes = fs::read(&kept).unwrap();
            symlink(&kept, path).unwrap();
            let error = real.refusal();
            assert_eq!(error.kind(), ErrorKind::Damaged, "a link in place of {path:?}: {error}");
            assert_eq!(fs::read(&kept).unwrap(), bytes, "{path:?} was written through a link");
            unlink(path);
            symlink(real.outside.path().join("nowhere"), path).unwrap();
            let error = real.refusal();
            assert_eq!(error.kind(), ErrorKind::Damaged, "a dangling link in place of {path:?}: {error}");
            assert!(!real.outside.path().join("nowhere").exists(), "a file was made through a link");
            unlink(path);
            fs::create_dir(path).unwrap();
            assert_eq!(real.refusal().kind(), ErrorKind::Damaged, "a directory in place of {path:?}");
            fs::remove_dir(path).unwrap();
            let socket = std::os::unix::net::UnixListener::bind(path).unwrap();
            assert_eq!(real.refusal().kind(), ErrorKind::Damaged, "a socket in place of {path:?}");
            drop(socket);
            unlink(path);
            move_file(&kept, path);
            real.is_well();
        }
    }

    #[test]
    fn links_in_place_of_directories_are_refused() {
        let real = Real::new();
        let elsewhere = real.outside.path().join("elsewhere");
        let own = real.tenant.parent().unwrap().to_owned();
        let fan_out = own.parent().unwrap().to_owned();
        let keys = real.key.parent().unwrap().to_owned();
        for path in [real.data.join("keys"), real.data.join("tenants"), fan_out, own, keys] {
            move_file(&path, &elsewhere);
            symlink(&elsewhere, &path).unwrap();
            let error = real.refusal();
            assert_eq!(error.kind(), ErrorKind::Damaged, "a link in place of {path:?}: {error}");
            unlink(&path);
            fs::write(&path, "a file").unwrap();
            assert!(matches!(real.refusal().kind(), ErrorKind::Damaged | ErrorKind::Unavailable), "{path:?}");
            unlink(&path);
            move_file(&elsewhere, &path);
            real.is_well();
        }
        let link = real.outside.path().join("link");
        symlink(&real.data, &link).unwrap();
        assert_eq!(World::open(&link, Arc::new(SystemDisk)).map(|_| ()).unwrap_err().kind(), ErrorKind::Damaged);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let real = Real::new();
        for path in [real.data.clone(), real.data.join("keys"), real.data.join("tenants")] {
            for mode in [0o777, 0o720, 0o702] {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                let error = real.refusal();
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{path:?} {mode:o}: {error}");
                assert!(matches!(error.reason(), Reason::Permissions { .. }), "{path:?} {mode:o}: {error}");
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
            real.is_well();
        }
    }

    fn walk(path: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
        let metadata = fs::symlink_metadata(path).unwrap();
        visit(path, &metadata);
        if metadata.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                walk(&entry.unwrap().path(), visit);
            }
        }
    }

    #[test]
    fn everything_is_made_for_its_owner_alone() {
        let real = Real::new();
        let mut seen = 0;
        walk(&real.data, &mut |path, metadata| {
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{path:?}");
            seen += 1;
        });
        assert!(seen >= 12, "only {seen} entries");
    }

    #[test]
    fn unknown_files_are_left_alone() {
        let real = Real::new();
        let own = real.tenant.parent().unwrap().to_owned();
        let keys = real.key.parent().unwrap().to_owned();
        let strangers = [
            real.data.join("tenants/notes.txt"),
            real.data.join("keys/backup"),
            own.join("data.7.redb"),
            own.join("draft.tmp"),
            keys.join("0123.1.key"),
            real.data.join("readme"),
        ];
        for path in &strangers {
            fs::write(path, "not ours").unwrap();
        }
        let world = real.open().unwrap();
        world.provision("third").unwrap();
        world.operator().purge(&TenantId::new("third").unwrap()).unwrap();
        world.operator().purge(&TenantId::new("acme").unwrap()).unwrap();
        drop(world);
        drop(real.open().unwrap());
        for path in &strangers {
            assert_eq!(fs::read(path).unwrap(), b"not ours", "{path:?}");
        }
        assert!(!real.tenant.exists() && !real.key.exists());
    }
}

/// Rollback is not detected, but an index that is newer than its file must not make recall wait for ever.
#[test]
fn a_file_put_back_under_a_live_tenant_does_not_hang_recall() {
    let disk = SimDisk::new(7);
    let world = World::open(Path::new("/data"), Arc::new(disk.clone())).unwrap();
    world.provision("acme").unwrap();
    let notes = world.handle("acme", "alice").unwrap().memories("notes").unwrap();
    let question = Recall::vector(&[1.0, 0.0]);
    notes.put(Memory::new("old").vector(vec![1.0, 0.0])).unwrap();
    let data = disk.files().into_iter().find(|path| path.ends_with("data.1.redb")).unwrap();
    let before = disk.bytes(&data).unwrap();
    notes.put(Memory::new("new").vector(vec![1.0, 0.1])).unwrap();
    assert_eq!(notes.recall(&question).unwrap().len(), 2);

    disk.set_bytes(&data, before);
    disk.fail_write("data.1.redb", 0);
    notes.put(Memory::new("refused")).unwrap_err();
    let keys: Vec<_> = notes.recall(&question).unwrap().into_iter().map(|hit| hit.memory.key).collect();
    assert_eq!(keys, ["old"]);
}
