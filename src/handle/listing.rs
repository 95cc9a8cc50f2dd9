//! Lists as iterators.

use std::collections::VecDeque;

use super::memories::Memories;
use crate::access::gate::Read;
use crate::error::Result;
use crate::tenant::list::List;
use crate::tenant::memory::MemoryRecord;

/// The memories of a list, one after the other. Made by [`Memories::iter`]. It ends with an error when the tenant is
/// re-keyed meanwhile, and when reading is allowed no longer: each memory passes the gate before it is given out, also
/// those that were read from the file before. Only the pages count as operations of the handle.
#[derive(Debug)]
pub struct Listing {
    memories: Memories,
    /// The page to ask for next; absent after the last one.
    ahead: Option<List>,
    page: VecDeque<MemoryRecord>,
}

impl Listing {
    pub(super) fn new(memories: Memories, list: List) -> Self {
        Self { memories, ahead: Some(list), page: VecDeque::new() }
    }

    /// Whether what was read may still be given out.
    fn check(&self) -> Result<()> {
        self.memories.access.know_policy()?;
        self.memories.admit::<Read>()
    }
}

impl Iterator for Listing {
    type Item = Result<MemoryRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(memory) = self.page.pop_front() {
                if let Err(error) = self.check() {
                    (self.page, self.ahead) = (VecDeque::new(), None);
                    return Some(Err(error));
                }
                return Some(Ok(memory));
            }
            let list = self.ahead.take()?;
            match self.memories.list(&list) {
                Ok(page) => {
                    self.page = page.memories.into();
                    self.ahead = page.next.map(|next| list.after(next));
                }
                // The list stays ended: what was refused once would be refused again.
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl std::iter::FusedIterator for Listing {}
