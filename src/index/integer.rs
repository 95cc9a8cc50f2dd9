//! Dot products of i8 codes, with whatever instructions the processor has.
//!
//! Every path gives the same integers, so which one runs changes nothing but the time. They are chosen at run time:
//! one binary, built for the default target, serves all machines. Calls across that choice, and the loads of vector
//! registers, are the only `unsafe` of the crate.
#![allow(unsafe_code, reason = "instructions that were found at run time are called here and nowhere else")]

/// Rows that share the loads of a query and the last additions.
const GROUP: usize = 4;
/// Bytes that a processor loads at once.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// The dot product of `query` with each of the rows of `codes`, which lie one after the other.
///
/// # Panics
/// Where there are not as many rows as there is room in `out`.
pub(crate) fn dots(query: &[i8], codes: &[i8], out: &mut [i32]) {
    Path::best().run(query, codes, out);
}

/// The dot product of `query` with each of the rows of `codes` at these places.
///
/// # Panics
/// Where there are not as many places as there is room in `out`, or a place has no row.
pub(crate) fn dots_at(query: &[i8], codes: &[i8], places: &[u32], out: &mut [i32]) {
    Path::best().run_at(query, codes, places, out);
}

/// The dot product of two rows.
///
/// # Panics
/// Where they are not of the same length.
pub(crate) fn dot(a: &[i8], b: &[i8]) -> i32 {
    Path::best().run_one(a, b)
}

/// Has the row at a place brought to the processor, if there is one. It will be asked for soon.
#[inline]
pub(crate) fn prefetch(codes: &[i8], dimensions: usize, place: u32) {
    let start = place as usize * dimensions;
    #[cfg(target_arch = "x86_64")]
    if let Some(row) = codes.get(start..start + dimensions) {
        for line in row.chunks(LINE) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a hint. The address is of a row besides.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (codes, start);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Path {
    /// Slowest first.
    const ALL: &[Self] = &[
        Self::Portable,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Vnni,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
    ];

    /// The standard library remembers what it detected, so asking costs a load.
    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
        }
    }

    fn best() -> Self {
        Self::ALL.iter().rev().copied().find(|path| path.is_available()).unwrap_or(Self::Portable)
    }

    fn run(self, query: &[i8], codes: &[i8], out: &mut [i32]) {
        assert!(
            !query.is_empty() && codes.len() == query.len() * out.len() && self.is_available(),
            "one dot product for each row"
        );
        self.groups(query, groups(codes, query.len()), out);
    }

    fn run_at(self, query: &[i8], codes: &[i8], places: &[u32], out: &mut [i32]) {
        let rows = if query.is_empty() { 0 } else { codes.len() / query.len() };
        assert!(
            places.len() == out.len() && places.iter().all(|place| (*place as usize) < rows) && self.is_available(),
            "a row at each place"
        );
        self.groups(query, groups_at(codes, query.len(), places), out);
    }

    /// The caller has checked that this path is available.
    fn groups<'a>(self, query: &[i8], groups: impl Iterator<Item = [&'a [i8]; GROUP]>, out: &mut [i32]) {
        match self {
            Self::Portable => portable(query, groups, out),
            // SAFETY: the processor has the instructions of this path; the callers have asked.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::avx2(query, groups, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => unsafe { x86::avx512_vnni(query, groups, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => unsafe { aarch64::neon(query, groups, out) },
        }
    }

    fn run_one(self, a: &[i8], b: &[i8]) -> i32 {
        assert!(a.len() == b.len() && self.is_available(), "two rows of one length");
        match self {
            Self::Portable => plain(a, b),
            // SAFETY: the processor has the instructions of this path; it was asked just above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { x86::avx2_one(a, b) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => unsafe { x86::avx512_vnni_one(a, b) },
            #[cfg(target_arch = "aarch64")]
            Self::Neon => {
                let mut out = [0];
                self.groups(a, std::iter::once([b; GROUP]), &mut out);
                let [out] = out;
                out
            }
        }
    }
}

fn portable<'a>(query: &[i8], groups: impl Iterator<Item = [&'a [i8]; GROUP]>, out: &mut [i32]) {
    for (rows, out) in groups.zip(out.chunks_mut(GROUP)) {
        for (out, row) in out.iter_mut().zip(rows) {
            *out = plain(query, row);
        }
    }
}

/// At most 2^14 for each of 4,096 dimensions: far from overflow.
#[inline]
fn plain(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(i16::from(*a) * i16::from(*b))).sum()
}

/// The rows of `codes` in groups. What a last group lacks is filled with its first row.
#[inline]
fn groups(codes: &[i8], length: usize) -> impl Iterator<Item = [&[i8]; GROUP]> {
    codes.chunks(GROUP * length).map(move |group| {
        let mut rows = [group.get(..length).unwrap_or_default(); GROUP];
        rows.iter_mut().zip(group.chunks_exact(length)).for_each(|(slot, row)| *slot = row);
        rows
    })
}

/// The same of the rows at these places.
#[inline]
fn groups_at<'a>(codes: &'a [i8], length: usize, places: &'a [u32]) -> impl Iterator<Item = [&'a [i8]; GROUP]> {
    let row = move |place: &u32| {
        let start = *place as usize * length;
        codes.get(start..start + length).unwrap_or_default()
    };
    places.chunks(GROUP).map(move |places| {
        let mut rows = [places.first().map(row).unwrap_or_default(); GROUP];
        rows.iter_mut().zip(places).for_each(|(slot, place)| *slot = row(place));
        rows
    })
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{GROUP, plain};

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn avx512_vnni<'a>(query: &[i8], groups: impl Iterator<Item = [&'a [i8]; GROUP]>, out: &mut [i32]) {
        // The instruction multiplies unsigned by signed bytes. A code with its top bit flipped is the code plus 128,
        // so each sum is too great by 128 times the sum of the query.
        let (chunks, rest) = query.as_chunks::<64>();
        let excess = 128 * chunks.as_flattened().iter().map(|code| i32::from(*code)).sum::<i32>();
        let flip = _mm512_set1_epi8(i8::MIN);
        for (rows, out) in groups.zip(out.chunks_mut(GROUP)) {
            let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = rows.map(|row| row.as_chunks::<64>());
            let mut sums = [_mm512_setzero_si512(); GROUP];
            for ((((query, a), b), c), d) in chunks.iter().zip(a).zip(b).zip(c).zip(d) {
                let query = load_64(query);
                for (sum, row) in sums.iter_mut().zip([a, b, c, d]) {
                    *sum = _mm512_dpbusd_epi32(*sum, _mm512_xor_si512(load_64(row), flip), query);
                }
            }
            let sums =
                sums.map(|sum| _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum)));
            let rests = [a_rest, b_rest, c_rest, d_rest];
            for ((out, sum), row) in out.iter_mut().zip(add_up(sums)).zip(rests) {
                *out = sum - excess + plain(rest, row);
            }
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2<'a>(query: &[i8], groups: impl Iterator<Item = [&'a [i8]; GROUP]>, out: &mut [i32]) {
        let (chunks, rest) = query.as_chunks::<16>();
        for (rows, out) in groups.zip(out.chunks_mut(GROUP)) {
            let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = rows.map(|row| row.as_chunks::<16>());
            let mut sums = [_mm256_setzero_si256(); GROUP];
            for ((((query, a), b), c), d) in chunks.iter().zip(a).zip(b).zip(c).zip(d) {
                let query = _mm256_cvtepi8_epi16(load_16(query));
                for (sum, row) in sums.iter_mut().zip([a, b, c, d]) {
                    let products = _mm256_madd_epi16(query, _mm256_cvtepi8_epi16(load_16(row)));
                    *sum = _mm256_add_epi32(*sum, products);
                }
            }
            let rests = [a_rest, b_rest, c_rest, d_rest];
            for ((out, sum), row) in out.iter_mut().zip(add_up(sums)).zip(rests) {
                *out = sum + plain(rest, row);
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub(super) fn avx512_vnni_one(a: &[i8], b: &[i8]) -> i32 {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<64>(), b.as_chunks::<64>());
        let (flip, one) = (_mm512_set1_epi8(i8::MIN), _mm512_set1_epi8(1));
        let (mut sum, mut excess) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for (a, b) in a.iter().zip(b) {
            let b = load_64(b);
            sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(load_64(a), flip), b);
            excess = _mm512_dpbusd_epi32(excess, one, b);
        }
        _mm512_reduce_add_epi32(sum) - 128 * _mm512_reduce_add_epi32(excess) + plain(a_rest, b_rest)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2_one(a: &[i8], b: &[i8]) -> i32 {
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
        let (mut even, mut odd) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let product = |a, b| _mm256_madd_epi16(_mm256_cvtepi8_epi16(load_16(a)), _mm256_cvtepi8_epi16(load_16(b)));
        let (a, b) = (a.as_chunks::<2>(), b.as_chunks::<2>());
        for ([a0, a1], [b0, b1]) in a.0.iter().zip(b.0) {
            even = _mm256_add_epi32(even, product(a0, b0));
            odd = _mm256_add_epi32(odd, product(a1, b1));
        }
        if let ([a], [b]) = (a.1, b.1) {
            even = _mm256_add_epi32(even, product(a, b));
        }
        let zero = _mm256_setzero_si256();
        let [sum, ..] = add_up([_mm256_add_epi32(even, odd), zero, zero, zero]);
        sum + plain(a_rest, b_rest)
    }

    /// The sum of each of the four.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add_up([a, b, c, d]: [__m256i; GROUP]) -> [i32; GROUP] {
        let halves = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
        let sums = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves));
        [
            _mm_extract_epi32::<0>(sums),
            _mm_extract_epi32::<1>(sums),
            _mm_extract_epi32::<2>(sums),
            _mm_extract_epi32::<3>(sums),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load_64(codes: &[i8; 64]) -> __m512i {
        // SAFETY: 64 bytes may be read there, and the load asks for no alignment.
        unsafe { _mm512_loadu_si512(codes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load_16(codes: &[i8; 16]) -> __m128i {
        // SAFETY: 16 bytes may be read there, and the load asks for no alignment.
        unsafe { _mm_loadu_si128(codes.as_ptr().cast()) }
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use std::arch::aarch64::*;

    use super::{GROUP, plain};

    #[target_feature(enable = "neon")]
    pub(super) fn neon<'a>(query: &[i8], groups: impl Iterator<Item = [&'a [i8]; GROUP]>, out: &mut [i32]) {
        let (chunks, rest) = query.as_chunks::<16>();
        for (rows, out) in groups.zip(out.chunks_mut(GROUP)) {
            let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = rows.map(|row| row.as_chunks::<16>());
            let mut sums = [vdupq_n_s32(0); GROUP];
            for ((((query, a), b), c), d) in chunks.iter().zip(a).zip(b).zip(c).zip(d) {
                let query = load_16(query);
                for (sum, row) in sums.iter_mut().zip([a, b, c, d]) {
                    let row = load_16(row);
                    let low = vmull_s8(vget_low_s8(query), vget_low_s8(row));
                    *sum = vpadalq_s16(vpadalq_s16(*sum, low), vmull_high_s8(query, row));
                }
            }
            let rests = [a_rest, b_rest, c_rest, d_rest];
            for ((out, sum), row) in out.iter_mut().zip(sums).zip(rests) {
                *out = vaddvq_s32(sum) + plain(rest, row);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn load_16(codes: &[i8; 16]) -> int8x16_t {
        // SAFETY: 16 bytes may be read there, and the load asks for no alignment.
        unsafe { vld1q_s8(codes.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> impl Iterator<Item = Path> {
        Path::ALL.iter().copied().filter(|path| path.is_available())
    }

    fn check(query: &[i8], codes: &[i8]) {
        let wide = |row: &[i8]| query.iter().zip(row).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum::<i64>();
        let expected: Vec<i64> = codes.chunks_exact(query.len()).map(wide).collect();
        for path in paths() {
            let mut found = vec![i32::MAX; expected.len()];
            path.run(query, codes, &mut found);
            assert!(found.iter().map(|dot| i64::from(*dot)).eq(expected.iter().copied()), "{path:?}, {}", query.len());
            for (row, expected) in codes.chunks_exact(query.len()).zip(&expected) {
                assert_eq!(i64::from(path.run_one(query, row)), *expected, "{path:?}, {}", query.len());
            }
            let places: Vec<u32> = (0..u32::try_from(expected.len()).unwrap()).rev().collect();
            path.run_at(query, codes, &places, &mut found);
            let expected = expected.iter().rev().copied();
            assert!(found.iter().map(|dot| i64::from(*dot)).eq(expected), "{path:?}, {}", query.len());
        }
    }

    #[test]
    fn every_path_gives_the_same_integers() {
        let mut state = 1_u64;
        let mut random = |length: usize| -> Vec<i8> {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_le_bytes()[6].cast_signed()
            };
            (0..length).map(|_| next()).collect()
        };
        for length in (1..=200).chain([384, 1_536, 4_096]) {
            for rows in [0, 1, 2, 3, 4, 5, 9] {
                check(&random(length), &random(length * rows));
            }
            for (a, b) in [(127, 127), (-127, 127), (-128, -128), (-128, 127), (127, -128), (0, -128)] {
                check(&vec![a; length], &vec![b; length * 5]);
            }
        }
    }

    #[test]
    fn the_best_path_is_the_last_that_the_processor_has() {
        println!("available: {:?}", paths().collect::<Vec<_>>());
        assert_eq!(Some(Path::best()), paths().last());
    }

    #[test]
    #[should_panic(expected = "one dot product for each row")]
    fn rows_must_be_whole() {
        dots(&[1, 2], &[1, 2, 3], &mut [0]);
    }

    #[test]
    #[should_panic(expected = "a row at each place")]
    fn places_must_have_rows() {
        dots_at(&[1, 2], &[1, 2, 3, 4], &[2], &mut [0]);
    }
}
