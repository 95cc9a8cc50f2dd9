//! What a handle with every scope sees of its tenant, to be held against what another saw.

use watertight::{AuditAction, ChainHead, List, Memories, MemoryRecord, NamespaceInfo, TenantHandle, Usage};

/// Everything, ids and times included: two that are equal were taken with no change in between.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub namespaces: Vec<NamespaceInfo>,
    pub memories: Vec<MemoryRecord>,
    pub usage: Usage,
    pub audit: ChainHead,
}

pub fn seen(handle: &TenantHandle) -> Seen {
    let namespaces = handle.namespaces().unwrap();
    let memories = namespaces.iter().flat_map(|info| all(&memories(handle, info))).collect();
    Seen { namespaces, memories, usage: handle.usage().unwrap(), audit: handle.audit().verify().unwrap() }
}

/// Nothing has changed since, but that the trail tells of what was refused.
pub fn assert_only_refused(handle: &TenantHandle, before: &Seen) {
    let attempts = handle.audit().entries(before.audit.entries + 1, 1_000).unwrap();
    assert!(attempts.iter().all(|entry| entry.action == AuditAction::Attempt), "{attempts:?}");
    assert_eq!(Seen { audit: before.audit, ..seen(handle) }, *before);
}

/// The same as text, without what differs between two tenants in which the same was done: ids, times and hashes.
pub fn told(handle: &TenantHandle) -> String {
    let mut lines = vec![format!("{:?}", handle.usage().unwrap())];
    for info in handle.namespaces().unwrap() {
        lines.push(format!("{} {} {:?}", info.namespace, info.private, info.dimensions));
        for MemoryRecord { key, text, content, metadata, has_vector, author, version, .. } in
            all(&memories(handle, &info))
        {
            lines.push(format!("{key} {version} {text:?} {content:?} {metadata:?} {has_vector} {}", author.subject()));
        }
    }
    handle.audit().verify().unwrap();
    for entry in handle.audit().entries(1, 1_000).unwrap() {
        let user = entry.user.as_ref().map(|user| user.subject());
        lines.push(format!("{:?} {user:?} {:?} {} {:?}", entry.action, entry.namespace, entry.private, entry.key));
    }
    lines.join("\n")
}

/// The memories of a namespace in the order of their first puts.
pub fn all(memories: &Memories) -> Vec<MemoryRecord> {
    memories.iter(List::new().oldest_first().limit(1_000)).map(Result::unwrap).collect()
}

fn memories(handle: &TenantHandle, info: &NamespaceInfo) -> Memories {
    let name = info.namespace.as_str();
    if info.private { handle.private(name).unwrap() } else { handle.memories(name).unwrap() }
}
