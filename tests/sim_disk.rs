//! The simulated disk does what it says: without this, a crash test that passes says nothing.

mod support;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use support::sim_disk::{SECTOR_BYTES, SimDisk};
use watertight::disk::{Disk, DiskFile, EntryInfo, EntryKind};

const SECTOR: usize = SECTOR_BYTES as usize;
const FORKS: usize = 200;

fn p(path: &str) -> &Path {
    Path::new(path)
}

/// A disk with one durable file of this content.
fn with_file(seed: u64, bytes: &[u8]) -> (SimDisk, Box<dyn DiskFile>) {
    let disk = SimDisk::new(seed);
    let file = disk.create(p("/f")).unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync().unwrap();
    disk.sync_directory(p("/")).unwrap();
    (disk, file)
}

fn forks(disk: &SimDisk) -> Vec<SimDisk> {
    (0..FORKS).map(|_| disk.crash()).collect()
}

fn contents(disk: &SimDisk) -> Vec<Vec<u8>> {
    forks(disk).iter().map(|image| image.bytes("/f").unwrap()).collect()
}

/// What became of one sector that went from `old` to `new`.
fn fates(images: &[Vec<u8>], sector: usize, old: u8, new: u8) -> BTreeSet<&'static str> {
    images
        .iter()
        .map(|bytes| {
            let part = &bytes[sector * SECTOR..(sector + 1) * SECTOR];
            match part[0] {
                first if part.iter().any(|byte| *byte != first) => "garbage",
                first if first == old => "old",
                first if first == new => "new",
                other => panic!("a sector of {other}"),
            }
        })
        .collect()
}

fn listings(disk: &SimDisk) -> BTreeSet<Vec<PathBuf>> {
    forks(disk).iter().map(SimDisk::files).collect()
}

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

fn eio<T>(result: std::io::Result<T>) -> bool {
    result.err().expect("an error").raw_os_error() == Some(5)
}

#[test]
fn an_unsynced_sector_becomes_old_new_or_garbage_independently() {
    let (disk, file) = with_file(1, &[1; 4 * SECTOR]);
    file.write_at(SECTOR as u64, &[2; 2 * SECTOR]).unwrap();
    let images = contents(&disk);
    for sector in [1, 2] {
        assert_eq!(fates(&images, sector, 1, 2), BTreeSet::from(["garbage", "new", "old"]));
    }
    for sector in [0, 3] {
        assert_eq!(fates(&images, sector, 1, 2), BTreeSet::from(["old"]), "a sector that nobody wrote");
    }
    let mixed = |a: u8, b: u8| images.iter().any(|i| i[SECTOR..2 * SECTOR] == [a; SECTOR] && i[2 * SECTOR] == b);
    assert!(mixed(1, 2) && mixed(2, 1), "torn between two sectors, in both orders");
    let thirds = images.iter().filter(|image| image[SECTOR..2 * SECTOR] == [2; SECTOR]).count();
    assert!((FORKS / 5..FORKS / 2).contains(&thirds), "{thirds} of {FORKS} new");
}

#[test]
fn a_write_within_a_sector_endangers_the_whole_sector() {
    let (disk, file) = with_file(2, &[1; 3 * SECTOR]);
    file.write_at(SECTOR as u64 + 100, &[2; 10]).unwrap();
    let images = contents(&disk);
    let mut new = vec![1; 3 * SECTOR];
    new[SECTOR + 100..SECTOR + 110].fill(2);
    assert!(images.contains(&new));
    assert!(images.contains(&vec![1; 3 * SECTOR]));
    assert!(images.iter().any(|image| image[SECTOR..SECTOR + 100] != [1; 100]));
    assert!(images.iter().all(|image| image[..SECTOR] == [1; SECTOR] && image[2 * SECTOR..] == [1; SECTOR]));
}

#[test]
fn what_is_synced_is_never_lost() {
    let disk = SimDisk::new(3);
    disk.create_directory(p("/d")).unwrap();
    disk.sync_directory(p("/")).unwrap();
    let file = disk.create(p("/d/f")).unwrap();
    let bytes: Vec<u8> = (0..20_000_u32).map(|i| (i % 251) as u8).collect();
    file.write_at(0, &bytes).unwrap();
    file.sync().unwrap();
    disk.sync_directory(p("/d")).unwrap();
    for _ in 0..500 {
        let image = disk.crash();
        assert_eq!(image.files(), paths(&["/d/f"]));
        assert_eq!(image.bytes("/d/f").unwrap(), bytes);
        assert_eq!(image.crash().bytes("/d/f").unwrap(), bytes, "an image is itself synced");
    }
    assert_eq!(disk.stable_bytes("/d/f").unwrap(), bytes);
}

#[test]
fn an_unsynced_length_becomes_old_or_new() {
    let (disk, file) = with_file(4, &[1; SECTOR]);
    file.write_at(SECTOR as u64, &[2; 2 * SECTOR]).unwrap();
    let images = contents(&disk);
    let lengths: BTreeSet<_> = images.iter().map(Vec::len).collect();
    assert_eq!(lengths, BTreeSet::from([SECTOR, 3 * SECTOR]));
    let longer: Vec<_> = images.into_iter().filter(|image| image.len() > SECTOR).collect();
    assert_eq!(fates(&longer, 0, 1, 2), BTreeSet::from(["old"]));
    assert_eq!(fates(&longer, 1, 0, 2), BTreeSet::from(["garbage", "new", "old"]), "the old one reads as zero");

    let (disk, file) = with_file(5, &[1; 3 * SECTOR]);
    file.set_len(SECTOR as u64).unwrap();
    let expected = BTreeSet::from([vec![1; SECTOR], vec![1; 3 * SECTOR]]);
    assert_eq!(contents(&disk).into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn what_was_cut_and_extended_again_reads_as_zero_or_old() {
    let (disk, file) = with_file(6, &[1; 20 * SECTOR]);
    file.set_len(SECTOR as u64).unwrap();
    file.set_len(20 * SECTOR_BYTES).unwrap();
    let mut visible = vec![0; 20 * SECTOR];
    visible[..SECTOR].fill(1);
    assert_eq!(disk.bytes("/f").unwrap(), visible);
    let images = contents(&disk);
    assert!(images.iter().all(|image| image.len() == 20 * SECTOR));
    assert_eq!(fates(&images, 0, 1, 0), BTreeSet::from(["old"]));
    for sector in 1..20 {
        assert_eq!(fates(&images, sector, 1, 0), BTreeSet::from(["old", "new"]));
    }
    file.sync().unwrap();
    assert!(contents(&disk).iter().all(|image| *image == visible));
}

#[test]
fn a_cut_within_a_sector_clears_its_rest() {
    let (disk, file) = with_file(7, &[1; 5_000]);
    file.set_len(4_100).unwrap();
    file.set_len(5_000).unwrap();
    let mut expected = vec![1; 4_100];
    expected.resize(5_000, 0);
    assert_eq!(disk.bytes("/f").unwrap(), expected);
    file.sync().unwrap();
    assert!(contents(&disk).iter().all(|image| *image == expected));
}

#[test]
fn a_failed_sync_stays_visible_and_is_lost_at_the_crash() {
    let (disk, file) = with_file(8, &[1; 2 * SECTOR]);
    disk.fail_sync("/f", 1);
    file.sync().unwrap();
    file.write_at(0, &[2; SECTOR]).unwrap();
    assert!(eio(file.sync()));
    assert_eq!(disk.planned_faults(), 0);
    // The next sync succeeds and writes nothing of it, except for what is written anew.
    file.write_at(SECTOR_BYTES, &[3; SECTOR]).unwrap();
    file.sync().unwrap();
    let mut seen = [0; 2 * SECTOR];
    file.read_at(0, &mut seen).unwrap();
    assert_eq!((seen[0], seen[SECTOR]), (2, 3));
    for image in contents(&disk) {
        assert_eq!((&image[..SECTOR], &image[SECTOR..]), (&[1; SECTOR][..], &[3; SECTOR][..]));
    }
    file.write_at(0, &[4; SECTOR]).unwrap();
    file.sync().unwrap();
    assert!(contents(&disk).iter().all(|image| image[..SECTOR] == [4; SECTOR]), "written anew, it is durable");
}

#[test]
fn a_failed_sync_leaves_the_length_pending_and_the_new_part_zero() {
    let (disk, file) = with_file(9, &[1; SECTOR]);
    file.write_at(SECTOR_BYTES, &[2; SECTOR]).unwrap();
    disk.fail_sync("f", 0);
    assert!(eio(file.sync()));
    let zero = [[1; SECTOR], [0; SECTOR]].concat();
    let expected = BTreeSet::from([vec![1; SECTOR], zero.clone()]);
    assert_eq!(contents(&disk).into_iter().collect::<BTreeSet<_>>(), expected);
    file.sync().unwrap();
    assert!(contents(&disk).iter().all(|image| *image == zero));
    assert_eq!(disk.bytes("/f").unwrap()[SECTOR], 2);
}

#[test]
fn what_was_cut_before_a_failed_sync_does_not_come_back_after_a_good_one() {
    let (disk, file) = with_file(10, &[1; 2 * SECTOR]);
    file.set_len(SECTOR_BYTES).unwrap();
    file.write_at(SECTOR_BYTES, &[2; SECTOR]).unwrap();
    disk.fail_sync("/f", 0);
    assert!(eio(file.sync()));
    file.sync().unwrap();
    assert!(contents(&disk).iter().all(|image| image[SECTOR..] == [0; SECTOR]));
}

#[test]
fn evicting_shows_what_is_stable_but_keeps_what_is_dirty() {
    let (disk, file) = with_file(11, &[1; 3 * SECTOR]);
    file.write_at(0, &[2; SECTOR]).unwrap();
    disk.fail_sync("/f", 0);
    file.sync().unwrap_err();
    file.write_at(SECTOR_BYTES, &[3; SECTOR]).unwrap();

    disk.evict_is_confirmed(false);
    assert!(!file.evict().unwrap());
    assert_eq!(disk.bytes("/f").unwrap()[0], 2);
    disk.evict_is_confirmed(true);
    assert!(file.evict().unwrap());
    let expected = [[1; SECTOR], [3; SECTOR], [1; SECTOR]].concat();
    assert_eq!(disk.bytes("/f").unwrap(), expected);
    file.sync().unwrap();
    assert!(contents(&disk).iter().all(|image| *image == expected));

    // A lost sector that is written again is dirty as a whole, what was lost included.
    file.write_at(0, &[4; SECTOR]).unwrap();
    disk.fail_sync("/f", 0);
    file.sync().unwrap_err();
    file.write_at(0, &[5]).unwrap();
    assert!(file.evict().unwrap());
    let mut expected = expected;
    expected[..SECTOR].fill(4);
    expected[0] = 5;
    assert_eq!(disk.bytes("/f").unwrap(), expected);
    file.sync().unwrap();
    assert!(contents(&disk).iter().all(|image| *image == expected));
}

#[test]
fn an_unsynced_name_may_be_lost_and_a_synced_one_not() {
    let disk = SimDisk::new(12);
    disk.create(p("/a")).unwrap().sync().unwrap();
    assert_eq!(listings(&disk), BTreeSet::from([paths(&[]), paths(&["/a"])]), "a file sync keeps no name");
    disk.sync_directory(p("/")).unwrap();
    assert_eq!(listings(&disk), BTreeSet::from([paths(&["/a"])]));
    disk.remove(p("/a")).unwrap();
    assert_eq!(listings(&disk), BTreeSet::from([paths(&[]), paths(&["/a"])]));
    disk.sync_directory(p("/")).unwrap();
    assert_eq!(listings(&disk), BTreeSet::from([paths(&[])]));
}

#[test]
fn names_survive_as_a_subset_in_order() {
    let disk = SimDisk::new(13);
    for name in ["/a", "/b", "/c"] {
        disk.create(p(name)).unwrap();
    }
    assert_eq!(listings(&disk).len(), 8, "every subset of independent names");
    // Operations that share a name keep their order, so the file never has two names nor none.
    disk.sync_directory(p("/")).unwrap();
    disk.rename(p("/a"), p("/d")).unwrap();
    disk.rename(p("/d"), p("/e")).unwrap();
    let expected = ["/a", "/d", "/e"].map(|name| {
        let mut files = paths(&["/b", "/c", name]);
        files.sort();
        files
    });
    assert_eq!(listings(&disk), BTreeSet::from(expected));
}

#[test]
fn a_rename_is_old_or_new() {
    let (disk, _) = with_file(14, &[1; 10]);
    let tmp = disk.create(p("/f.tmp")).unwrap();
    tmp.write_at(0, &[2; 10]).unwrap();
    tmp.sync().unwrap();
    disk.sync_directory(p("/")).unwrap();
    disk.rename(p("/f.tmp"), p("/f")).unwrap();
    assert_eq!(disk.files(), paths(&["/f"]));
    let images: BTreeSet<_> = forks(&disk).iter().map(|image| (image.bytes("/f"), image.bytes("/f.tmp"))).collect();
    assert_eq!(images, BTreeSet::from([(Some(vec![1; 10]), Some(vec![2; 10])), (Some(vec![2; 10]), None)]));
    disk.sync_directory(p("/")).unwrap();
    assert!(contents(&disk).iter().all(|image| *image == [2; 10]));
    assert_eq!(disk.inspect(p("/f.tmp")).unwrap(), None);
}

#[test]
fn an_unsynced_content_under_a_surviving_name_is_torn() {
    let (disk, _) = with_file(15, &[1; SECTOR]);
    let tmp = disk.create(p("/t")).unwrap();
    tmp.write_at(0, &[2; SECTOR]).unwrap();
    disk.rename(p("/t"), p("/f")).unwrap();
    disk.sync_directory(p("/")).unwrap();
    let images = contents(&disk);
    assert!(images.iter().any(Vec::is_empty), "the classic empty file");
    let full: Vec<_> = images.into_iter().filter(|image| !image.is_empty()).collect();
    assert_eq!(fates(&full, 0, 0, 2), BTreeSet::from(["garbage", "new", "old"]));
}

#[test]
fn a_rename_between_directories_loses_nothing_before_a_sync() {
    let disk = SimDisk::new(16);
    for directory in ["/a", "/b"] {
        disk.create_directory(p(directory)).unwrap();
    }
    disk.create(p("/a/x")).unwrap();
    for directory in ["/", "/a"] {
        disk.sync_directory(p(directory)).unwrap();
    }
    disk.rename(p("/a/x"), p("/b/x")).unwrap();
    let expected = BTreeSet::from([paths(&["/a/x"]), paths(&["/b/x"]), paths(&["/a/x", "/b/x"])]);
    assert_eq!(listings(&disk), expected);
    disk.sync_directory(p("/b")).unwrap();
    disk.sync_directory(p("/a")).unwrap();
    assert_eq!(listings(&disk), BTreeSet::from([paths(&["/b/x"])]));
    disk.create_directory(p("/a/sub")).unwrap();
    assert_eq!(kind(disk.rename(p("/a/sub"), p("/b/sub"))), ErrorKind::Unsupported);
    disk.rename(p("/a/sub"), p("/a/bus")).unwrap();
    assert_eq!(disk.list(p("/a")).unwrap(), ["bus"]);
}

#[test]
fn a_directory_lasts_only_when_its_parent_is_synced() {
    let disk = SimDisk::new(17);
    disk.create_directory(p("/d")).unwrap();
    disk.create(p("/d/x")).unwrap();
    disk.sync_directory(p("/d")).unwrap();
    let found: BTreeSet<_> = forks(&disk).iter().map(|image| image.inspect(p("/d/x")).unwrap().is_some()).collect();
    assert_eq!(found, BTreeSet::from([false, true]));
    disk.sync_directory(p("/")).unwrap();
    assert!(forks(&disk).iter().all(|image| image.inspect(p("/d/x")).unwrap().is_some()));
}

#[test]
fn open_handles_follow_their_file() {
    let (disk, file) = with_file(18, &[1; 10]);
    disk.rename(p("/f"), p("/g")).unwrap();
    file.write_at(0, &[2]).unwrap();
    assert_eq!(disk.bytes("/g").unwrap()[0], 2);
    // Faults are matched with the latest name.
    disk.fail_sync("/g", 0);
    assert!(eio(file.sync()));
    disk.remove(p("/g")).unwrap();
    disk.create(p("/g")).unwrap();
    file.write_at(0, &[3]).unwrap();
    let mut byte = [0];
    file.read_at(0, &mut byte).unwrap();
    assert_eq!((byte, file.len().unwrap(), disk.bytes("/g").unwrap().len()), ([3], 10, 0));
}

#[test]
fn a_lock_excludes_other_handles_until_it_is_released() {
    let (disk, first) = with_file(19, &[1]);
    let second = disk.open(p("/f")).unwrap();
    assert!(first.try_lock().unwrap());
    assert!(first.try_lock().unwrap(), "a handle does not exclude itself");
    assert!(!second.try_lock().unwrap());
    second.unlock().unwrap();
    assert!(!second.try_lock().unwrap(), "only the holder releases");
    first.unlock().unwrap();
    assert!(second.try_lock().unwrap());
    drop(second);
    assert!(first.try_lock().unwrap(), "closing releases");
    for image in [disk.crash(), disk.kill()] {
        assert!(image.open(p("/f")).unwrap().try_lock().unwrap(), "a lock ends with its machine or process");
    }
}

#[test]
fn a_killed_process_loses_nothing_yet() {
    let (disk, file) = with_file(20, &[1; SECTOR]);
    file.write_at(0, &[2; SECTOR]).unwrap();
    let next = disk.kill();
    assert_eq!(next.bytes("/f").unwrap(), [2; SECTOR]);
    assert_eq!(fates(&contents(&next), 0, 1, 2).len(), 3, "still not synced");
    next.open(p("/f")).unwrap().sync().unwrap();
    assert_eq!(fates(&contents(&next), 0, 1, 2), BTreeSet::from(["new"]));
    assert_eq!(fates(&contents(&disk), 0, 1, 2).len(), 3, "the two are independent");
}

#[test]
fn a_full_disk_refuses_growth_only() {
    let (disk, file) = with_file(21, &[1; 100]);
    disk.disk_full(true);
    assert_eq!(kind(file.write_at(90, &[2; 11])), ErrorKind::StorageFull);
    assert_eq!(kind(file.set_len(101)), ErrorKind::StorageFull);
    assert_eq!(disk.bytes("/f").unwrap(), [1; 100]);
    file.write_at(90, &[2; 10]).unwrap();
    file.set_len(50).unwrap();
    disk.disk_full(false);
    file.set_len(101).unwrap();

    disk.set_capacity(Some(201));
    let other = disk.create(p("/g")).unwrap();
    other.write_at(0, &[3; 100]).unwrap();
    assert_eq!(kind(other.write_at(100, &[3])), ErrorKind::StorageFull);
    disk.remove(p("/f")).unwrap();
    other.write_at(100, &[3]).unwrap();
}

#[test]
fn planned_faults_happen_once_where_planned() {
    let (disk, file) = with_file(22, &[1; 10]);
    let mut byte = [0];

    disk.fail_write("other", 0);
    disk.fail_write("/f", 0);
    assert!(eio(file.write_at(0, &[2])));
    file.write_at(1, &[2]).unwrap();
    assert_eq!((disk.bytes("/f").unwrap()[..2].to_vec(), disk.planned_faults()), (vec![1, 2], 1));
    disk.clear_faults();

    disk.short_write("/f", 1, 2);
    file.write_at(2, &[3]).unwrap();
    assert_eq!(kind(file.write_at(8, &[4; 4])), ErrorKind::StorageFull);
    assert_eq!(disk.bytes("/f").unwrap()[7..], [1, 4, 4]);

    disk.fail_read("/f", 0);
    assert!(eio(file.read_at(0, &mut byte)));
    file.read_at(0, &mut byte).unwrap();

    disk.fail_set_len("/f", 0);
    assert!(eio(file.set_len(5)));
    assert_eq!(file.len().unwrap(), 10);

    disk.fail_name("/f", 0);
    disk.fail_name("/f", 0);
    assert!(eio(disk.rename(p("/f"), p("/g"))));
    assert!(eio(disk.remove(p("/f"))));
    disk.remove(p("/f")).unwrap();

    disk.fail_sync_directory("/", 0);
    assert!(eio(disk.sync_directory(p("/"))));
    assert_eq!(listings(&disk).len(), 2, "still volatile");
    assert_eq!(disk.planned_faults(), 0);
}

#[test]
fn the_hook_sees_every_mutation_and_forks_before_it() {
    let disk = SimDisk::new(23);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, looked) = (seen.clone(), disk.clone());
    disk.on_mutation(Some(Box::new(move |number| {
        assert_eq!(looked.mutations(), number);
        log.lock().unwrap().push(number);
        number == 5
    })));
    let file = disk.create(p("/f")).unwrap(); // 1
    file.set_len(SECTOR_BYTES).unwrap(); // 2
    file.sync().unwrap(); // 3
    disk.sync_directory(p("/")).unwrap(); // 4
    file.write_at(0, &[1; SECTOR]).unwrap(); // 5
    disk.create_directory(p("/d")).unwrap(); // 6
    disk.rename(p("/f"), p("/g")).unwrap(); // 7
    disk.remove(p("/g")).unwrap(); // 8
    disk.remove(p("/g")).unwrap_err(); // 9
    let mut byte = [0];
    file.read_at(0, &mut byte).unwrap();
    assert_eq!(*seen.lock().unwrap(), (1..=9).collect::<Vec<_>>());
    assert_eq!((disk.mutations(), disk.writes(), disk.syncs(), disk.reads()), (9, 1, 1, 1));
    let images = disk.take_images();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].bytes("/f").unwrap(), [0; SECTOR], "before the write");
    assert!(disk.take_images().is_empty());
    disk.on_mutation(None);
    disk.create(p("/h")).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 9);
}

#[test]
fn a_seed_decides_everything() {
    let run = |seed| {
        let (disk, file) = with_file(seed, &[1; 10 * SECTOR]);
        file.write_at(0, &[2; 12 * SECTOR]).unwrap();
        disk.create(p("/g")).unwrap();
        disk.create(p("/h")).unwrap();
        (0..20)
            .map(|_| {
                let image = disk.crash();
                image.open(p("/f")).unwrap().write_at(0, &[3; SECTOR]).unwrap();
                (image.files(), image.bytes("/f"), image.crash().bytes("/f"))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(run(24), run(24));
    assert_ne!(run(24), run(25));
    let forks = run(24);
    assert!(forks.iter().any(|fork| *fork != forks[0]), "every fork draws anew");
}

#[test]
fn raw_access_changes_what_is_stable_under_open_handles() {
    let (disk, file) = with_file(26, &[1; 10]);
    file.write_at(0, &[2; 10]).unwrap();
    disk.set_bytes("/f", vec![3; 5]);
    assert_eq!(file.len().unwrap(), 5);
    disk.set_bytes("/new/sub/g", vec![0, 4]);
    disk.copy_raw("/f", "/h");
    disk.swap_raw("/f", "/new/sub/g");
    for image in forks(&disk) {
        assert_eq!(image.files(), paths(&["/f", "/h", "/new/sub/g"]));
        assert_eq!(image.bytes("/f").unwrap(), [0, 4]);
        assert_eq!(image.bytes("/h").unwrap(), [3; 5]);
        assert_eq!(image.bytes("/new/sub/g").unwrap(), [3; 5]);
    }
    disk.remove_raw("/f");
    assert_eq!(listings(&disk), BTreeSet::from([paths(&["/h", "/new/sub/g"])]));
    assert_eq!((disk.bytes("/f"), disk.stable_bytes("/f")), (None, None));
}

#[test]
fn errors_are_those_of_a_file_system() {
    let (disk, file) = with_file(27, &[1; 10]);
    disk.create_directory(p("/d")).unwrap();
    assert_eq!(kind(disk.open(p("/none"))), ErrorKind::NotFound);
    assert_eq!(kind(disk.open(p("/d"))), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.create(p("/f"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create(p("/none/f"))), ErrorKind::NotFound);
    assert_eq!(kind(disk.create(p("/f/g"))), ErrorKind::NotADirectory);
    assert_eq!(kind(disk.create_directory(p("/d"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create_directory(p("/"))), ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.rename(p("/none"), p("/f"))), ErrorKind::NotFound);
    assert_eq!(kind(disk.rename(p("/f"), p("/d"))), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.remove(p("/d"))), ErrorKind::IsADirectory);
    assert_eq!(kind(disk.list(p("/f"))), ErrorKind::NotADirectory);
    assert_eq!(kind(disk.sync_directory(p("/none"))), ErrorKind::NotFound);
    assert_eq!(kind(file.read_at(5, &mut [0; 6])), ErrorKind::UnexpectedEof);

    let info = |kind, len, mode| Some(EntryInfo { kind, len, mode: Some(mode) });
    assert_eq!(disk.inspect(p("/f")).unwrap(), info(EntryKind::File, 10, 0o600));
    assert_eq!(disk.inspect(p("/d")).unwrap(), info(EntryKind::Directory, 0, 0o700));
    assert_eq!(disk.inspect(p("f")).unwrap(), info(EntryKind::File, 10, 0o600), "relative to the root");
    assert_eq!(disk.inspect(p("/none/f")).unwrap(), None);
    let mut names = disk.list(p("/")).unwrap();
    names.sort();
    assert_eq!(names, ["d", "f"]);
}

/// A file against a plain vector, with a crash image of every step: the sparse copy-on-write content is right, and
/// an image differs from what was synced only where something was written or cut.
#[test]
fn random_operations_agree_with_a_plain_vector() {
    let mut seed = 99_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let (disk, file) = with_file(28, b"start");
    let (mut model, mut synced) = (b"start".to_vec(), b"start".to_vec());
    let mut touched = BTreeSet::new();
    for step in 0..3_000 {
        match random(8) {
            0..4 => {
                let (at, len) = (random(30_000), random(6_000) as usize);
                let bytes = vec![step as u8; len];
                file.write_at(at, &bytes).unwrap();
                if len > 0 {
                    let end = at as usize + len;
                    model.resize(model.len().max(end), 0);
                    model[at as usize..end].copy_from_slice(&bytes);
                    touched.extend(at as usize / SECTOR..end.div_ceil(SECTOR));
                }
            }
            4 => {
                let len = random(36_000) as usize;
                if len < model.len() {
                    touched.extend(len / SECTOR..80);
                }
                file.set_len(len as u64).unwrap();
                model.resize(len, 0);
            }
            5 => {
                file.sync().unwrap();
                synced.clone_from(&model);
                touched.clear();
            }
            6 => assert!(file.evict().unwrap(), "nothing was lost, so nothing changes"),
            _ => {
                let image = disk.crash().bytes("/f").unwrap();
                assert!(image.len() == model.len() || image.len() == synced.len());
                for (sector, part) in image.chunks(SECTOR).enumerate().filter(|(s, _)| !touched.contains(s)) {
                    let zero = [0; SECTOR];
                    let old = synced.get(sector * SECTOR..).unwrap_or(&[]);
                    let known = old.len().min(part.len());
                    assert_eq!(part[..known], old[..known], "sector {sector} at step {step}");
                    assert_eq!(part[known..], zero[known..part.len()]);
                }
            }
        }
        assert_eq!(disk.bytes("/f").unwrap(), model, "step {step}");
        assert_eq!(disk.stable_bytes("/f").unwrap(), synced, "step {step}");
    }
}

/// Crash tests take thousands of images; each must cost microseconds, not a copy of the disk.
#[test]
fn thousands_of_images_are_cheap() {
    let disk = SimDisk::new(29);
    let files: Vec<_> = (0..20)
        .map(|number| {
            let file = disk.create(p(&format!("/{number}"))).unwrap();
            file.set_len(1 << 20).unwrap();
            for slot in 0..20 {
                file.write_at(16_384 + slot * 4_608, &[7; 4_608]).unwrap();
            }
            file.sync().unwrap();
            file
        })
        .collect();
    disk.sync_directory(p("/")).unwrap();
    disk.on_mutation(Some(Box::new(|_| true)));
    let start = std::time::Instant::now();
    for step in 0..5_000_u64 {
        let file = &files[(step / 500) as usize];
        if step % 10 == 9 {
            file.sync().unwrap();
        } else {
            file.write_at(16_384 + step % 30 * 4_608, &[step as u8; 4_608]).unwrap();
        }
    }
    assert_eq!(disk.take_images().len(), 5_000);
    let taken = start.elapsed();
    println!("5,000 images in {taken:?}");
    assert!(taken.as_secs() < 20, "5,000 images in {taken:?}");
}
