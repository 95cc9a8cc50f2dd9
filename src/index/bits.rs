//! A set of small numbers.

/// A set of numbers, a bit for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Gives whether it was new.
    pub(crate) fn insert(&mut self, number: u32) -> bool {
        let word = number as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let Some(word) = self.0.get_mut(word) else { return false };
        let bit = 1 << (number % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    /// How many are in it.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// In order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        (0..).step_by(64).zip(&self.0).flat_map(|(first, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.checked_sub(1)?;
                Some(first + bit)
            })
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * 8
    }

    /// What both have.
    pub(crate) fn intersect(&mut self, other: &Self) {
        self.0.truncate(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    /// What either has.
    pub(crate) fn unite(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// What it has and the other has not.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
    }
}

impl FromIterator<u32> for Bits {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut bits = Self::default();
        for number in numbers {
            bits.insert(number);
        }
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut bits: Bits = [0, 1, 63, 64, 200].into_iter().collect();
        assert!(!bits.insert(63) && bits.insert(65));
        bits.remove(1);
        bits.remove(9_999);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 65, 200]);
        assert_eq!(bits.count(), 5);
        assert!(bits.contains(200) && !bits.contains(1) && !bits.contains(201) && !bits.contains(9_999));
    }

    #[test]
    fn combines_with_another() {
        let (a, b): (Bits, Bits) = ([1, 2, 70].into_iter().collect(), [2, 3].into_iter().collect());
        let combined = |with: fn(&mut Bits, &Bits)| {
            let mut bits = a.clone();
            with(&mut bits, &b);
            bits.iter().collect::<Vec<_>>()
        };
        assert_eq!(combined(Bits::intersect), [2]);
        assert_eq!(combined(Bits::unite), [1, 2, 3, 70]);
        assert_eq!(combined(Bits::subtract), [1, 70]);
    }
}
