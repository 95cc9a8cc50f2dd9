//! Vectors in a quarter of their size, and what their scores can be at most.
//!
//! A vector x is kept as `centre + scale * code + residual`, where the code is of i8 and of the residual only the
//! length is known. A question is coded the same way, and the dot product of two codes is exact, so what is left open
//! of a score is bounded by the lengths of the residuals. See "Index" in docs/DESIGN.md.

use super::integer::{dot, dots, dots_at, prefetch};
use super::metric::Metric;
use super::segment::Bytes;
use super::sieve::{BLOCK, Block, Bounded, Sieve};

/// Covers what f32 loses in the handful of operations that make a bound, a few times over.
const ARITHMETIC: f64 = 1.0 / (1 << 18) as f64;
/// The same for what is computed in f64, up to a sum of 4,096 terms.
const ARITHMETIC_F64: f64 = 1.0 / (1_u64 << 36) as f64;
/// More than a score loses to underflow: 4,096 products, each by half of the least f32.
const UNDERFLOW: f64 = 1e-39;
/// Its root, for a Euclidean distance.
const UNDERFLOW_ROOT: f64 = 1e-19;

/// Coded vectors of one namespace, one after the other.
#[derive(Debug)]
pub(crate) struct Codes {
    metric: Metric,
    /// The mean when it was last taken. Without it one coordinate that is large in all vectors would take the codes
    /// for itself.
    centre: Box<[f64]>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    /// What a score has besides the product of the two centred vectors and what the question alone decides.
    offsets: Vec<f32>,
    /// At least the length of the residual.
    residuals: Vec<f32>,
    /// At least the length of `scale * code`.
    lengths: Vec<f32>,
}

impl Codes {
    /// Codes of these vectors, around their mean.
    pub(crate) fn new(metric: Metric, dimensions: usize, vectors: &[f32]) -> Self {
        let rows = vectors.len() / dimensions.max(1);
        let mut sums = vec![0.0_f64; dimensions];
        for vector in vectors.chunks_exact(dimensions.max(1)) {
            sums.iter_mut().zip(vector).for_each(|(sum, component)| *sum += f64::from(*component));
        }
        let mut codes = Self {
            metric,
            centre: sums.iter().map(|sum| sum / rows.max(1) as f64).collect(),
            codes: Vec::with_capacity(vectors.len()),
            scales: Vec::with_capacity(rows),
            offsets: Vec::with_capacity(rows),
            residuals: Vec::with_capacity(rows),
            lengths: Vec::with_capacity(rows),
        };
        vectors.chunks_exact(dimensions.max(1)).for_each(|vector| codes.push(vector));
        codes
    }

    /// None yet, around a mean that is known.
    pub(crate) fn empty(metric: Metric, centre: Vec<f64>) -> Self {
        Self {
            metric,
            centre: centre.into(),
            codes: Vec::new(),
            scales: Vec::new(),
            offsets: Vec::new(),
            residuals: Vec::new(),
            lengths: Vec::new(),
        }
    }

    /// Memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let marks = [&self.scales, &self.offsets, &self.residuals, &self.lengths];
        self.codes.capacity() + marks.map(|marks| 4 * marks.capacity()).iter().sum::<usize>()
    }

    /// Takes memory for so many more rows, and no more than that.
    pub(crate) fn reserve(&mut self, rows: usize) {
        self.codes.reserve_exact(rows * self.centre.len());
        for marks in [&mut self.scales, &mut self.offsets, &mut self.residuals, &mut self.lengths] {
            marks.reserve_exact(rows);
        }
    }

    /// What each row takes besides its dimensions.
    pub(crate) const BYTES_OF_ROW: u64 = 16;

    pub(crate) fn push(&mut self, vector: &[f32]) {
        let place = self.scales.len();
        self.codes.resize(self.codes.len() + self.centre.len(), 0);
        for marks in [&mut self.scales, &mut self.offsets, &mut self.residuals, &mut self.lengths] {
            marks.push(0.0);
        }
        self.set(place, vector);
    }

    /// Replaces a vector.
    pub(crate) fn set(&mut self, place: usize, vector: &[f32]) {
        let dimensions = self.centre.len();
        let Some(codes) = self.codes.get_mut(place * dimensions..(place + 1) * dimensions) else { return };
        let mut centred = Centred::default();
        centred.set(vector, &self.centre);
        let coded = centred.code(codes);
        let offset = match self.metric {
            Metric::Cosine | Metric::Dot => sum(&centred.vector, &self.centre),
            Metric::L2 => -centred.square() / 2.0,
        };
        let marks = [&mut self.scales, &mut self.offsets, &mut self.residuals, &mut self.lengths];
        let values = [coded.scale, up(offset + offset.abs() * ARITHMETIC), up(coded.residual), up(coded.length)];
        for (marks, value) in marks.into_iter().zip(values) {
            if let Some(mark) = marks.get_mut(place) {
                *mark = value;
            }
        }
    }

    /// Removes a vector by moving the last one into its place.
    pub(crate) fn swap_remove(&mut self, place: usize) {
        let dimensions = self.centre.len();
        let last = self.scales.len() - 1;
        self.codes.copy_within(last * dimensions.., place * dimensions);
        self.codes.truncate(last * dimensions);
        for marks in [&mut self.scales, &mut self.offsets, &mut self.residuals, &mut self.lengths] {
            marks.swap_remove(place);
        }
    }

    /// Makes a question of a query, in the memory of another one.
    pub(crate) fn ask(&self, query: &[f32], question: &mut Question) {
        let Question { codes, centred, .. } = question;
        centred.set(query, &self.centre);
        codes.clear();
        codes.resize(query.len(), 0);
        let coded = centred.code(codes);
        // Rounding takes less than this part of a score of `|query| * |vector|` from it, whatever the order of its
        // additions.
        let rounding = (query.len() as f64 + 32.0) / f64::from(1 << 24);
        let rounding = rounding / (1.0 - rounding);
        let (constant, slack, open) = match self.metric {
            Metric::Cosine | Metric::Dot => {
                centred.whole.clear();
                centred.whole.extend(query.iter().map(|x| f64::from(*x)));
                let query = &centred.whole;
                let (length, centre_length) = (sum(query, query).sqrt(), sum(&self.centre, &self.centre).sqrt());
                let open = rounding * length + ARITHMETIC_F64 * centre_length;
                let slack = (rounding + ARITHMETIC_F64) * length * centre_length;
                (sum(query, &self.centre), slack, open)
            }
            // Here the rounding of a score is in `reach`: it is relative to the distance.
            Metric::L2 => (-centred.square() / 2.0, 0.0, 0.0),
        };
        let slack = slack + ARITHMETIC * constant.abs() + UNDERFLOW;
        let length = centred.square().sqrt();
        question.metric = self.metric;
        question.scale = coded.scale;
        question.constant = up(constant + slack);
        question.slack = up(slack);
        question.by_residual = up((length + open) * (1.0 + 2.0 * ARITHMETIC));
        question.by_length = up((coded.residual + open + ARITHMETIC * coded.length) * (1.0 + 2.0 * ARITHMETIC));
        question.rounding = rounding;
    }

    /// What the vectors at these places score about, on the scale of [`Question::reach`].
    pub(crate) fn about(&self, question: &Question, places: &[u32], scores: &mut [f32]) {
        let mut products = [0; BLOCK];
        for (places, scores) in places.chunks(BLOCK).zip(scores.chunks_mut(BLOCK)) {
            let Some(products) = products.get_mut(..places.len()) else { continue };
            dots_at(&question.codes, &self.codes, places, products);
            for ((place, product), score) in places.iter().zip(products).zip(scores) {
                let place = *place as usize;
                let Some((scale, offset)) = self.scales.get(place).zip(self.offsets.get(place)) else { continue };
                *score = question.constant + offset + *product as f32 * scale * question.scale;
            }
        }
    }

    /// What the vector at a place scores at most, of which it is known what it scores about.
    pub(crate) fn bounded(&self, question: &Question, place: u32, about: f32) -> Bounded {
        let at = place as usize;
        let (residual, length) = self.residuals.get(at).zip(self.lengths.get(at)).unwrap_or((&0.0, &0.0));
        Bounded { bound: about + question.by_residual * residual + question.by_length * length, place }
    }

    /// Every vector that can be among the `top` of at least the score `minimum`, by its bound, greatest first. All
    /// others are proven not to be.
    pub(crate) fn candidates<'s>(
        &self,
        question: &Question,
        top: usize,
        minimum: f32,
        sieve: &'s mut Sieve,
    ) -> &'s [Bounded] {
        sieve.begin(top, question.reach(minimum));
        let mut products = [0; BLOCK];
        let marks = self.scales.chunks(BLOCK).zip(self.offsets.chunks(BLOCK));
        let marks = marks.zip(self.residuals.chunks(BLOCK).zip(self.lengths.chunks(BLOCK)));
        let codes = self.codes.chunks(BLOCK * self.centre.len());
        for (first, (codes, ((scales, offsets), (residuals, lengths)))) in (0..).step_by(BLOCK).zip(codes.zip(marks)) {
            let Some(products) = products.get_mut(..scales.len()) else { continue };
            dots(&question.codes, codes, products);
            sieve.sift(question, Block { products, scales, offsets, residuals, lengths }, |at| first + at);
        }
        sieve.end()
    }

    /// As `candidates`, of the vectors at these places.
    pub(crate) fn candidates_at<'s>(
        &self,
        question: &Question,
        places: &[u32],
        top: usize,
        minimum: f32,
        sieve: &'s mut Sieve,
    ) -> &'s [Bounded] {
        sieve.begin(top, question.reach(minimum));
        let mut products = [0; BLOCK];
        let mut marks = [[0.0; BLOCK]; 4];
        for places in places.chunks(BLOCK) {
            let Some(products) = products.get_mut(..places.len()) else { continue };
            dots_at(&question.codes, &self.codes, places, products);
            for (marks, of_all) in marks.iter_mut().zip([&self.scales, &self.offsets, &self.residuals, &self.lengths]) {
                for (mark, place) in marks.iter_mut().zip(places) {
                    *mark = of_all.get(*place as usize).copied().unwrap_or_default();
                }
            }
            let [scales, offsets, residuals, lengths] =
                marks.each_ref().map(|marks| marks.get(..places.len()).unwrap_or_default());
            let block = Block { products, scales, offsets, residuals, lengths };
            sieve.sift(question, block, |at| places.get(at as usize).copied().unwrap_or_default());
        }
        sieve.end()
    }

    pub(crate) fn prefetch(&self, place: u32) {
        prefetch(&self.codes, self.centre.len(), place);
    }

    pub(crate) fn len(&self) -> usize {
        self.scales.len()
    }

    /// Equal for places of equal codes.
    pub(crate) fn identity(&self, place: u32) -> (&[i8], [u32; 4]) {
        let at = place as usize;
        let marks = [&self.scales, &self.offsets, &self.residuals, &self.lengths];
        (self.code(place), marks.map(|marks| marks.get(at).map_or(0, |mark| mark.to_bits())))
    }

    /// The squared Euclidean distance of two vectors, as their codes have it.
    pub(crate) fn apart(&self, a: u32, b: u32) -> f32 {
        let product = dot(self.code(a), self.code(b)) as f32;
        let of = |marks: &[f32], place: u32| marks.get(place as usize).copied().unwrap_or_default();
        let (length_a, length_b) = (of(&self.lengths, a), of(&self.lengths, b));
        let product = product * of(&self.scales, a) * of(&self.scales, b);
        (length_a * length_a + length_b * length_b - 2.0 * product).max(0.0)
    }

    /// Under dot, the coordinate that makes each vector as long as the longest; under the others nothing.
    pub(crate) fn lifts(&self) -> Vec<f32> {
        if self.metric != Metric::Dot {
            return Vec::new();
        }
        let square = |(length, offset): (&f32, &f32)| f64::from(*length).powi(2) + 2.0 * f64::from(*offset);
        let squares: Vec<f64> = self.lengths.iter().zip(&self.offsets).map(square).collect();
        let greatest = squares.iter().fold(f64::NEG_INFINITY, |greatest, square| greatest.max(*square));
        squares.iter().map(|square| up((greatest - square).max(0.0).sqrt())).collect()
    }

    /// The same vectors in another order, by their places in this one.
    pub(crate) fn ordered(&self, order: &[u32]) -> Self {
        let pick = |marks: &[f32]| order.iter().filter_map(|place| marks.get(*place as usize)).copied().collect();
        Self {
            metric: self.metric,
            centre: self.centre.clone(),
            codes: order.iter().flat_map(|place| self.code(*place)).copied().collect(),
            scales: pick(&self.scales),
            offsets: pick(&self.offsets),
            residuals: pick(&self.residuals),
            lengths: pick(&self.lengths),
        }
    }

    /// What [`Codes::write`] writes, in bytes.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.centre.len() * 8 + self.codes.len() + self.scales.len() * 16
    }

    /// The centre, then scales, offsets, residuals and lengths of all, then their codes.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        self.centre.iter().for_each(|component| bytes.extend(component.to_le_bytes()));
        for marks in [&self.scales, &self.offsets, &self.residuals, &self.lengths] {
            marks.iter().for_each(|mark| bytes.extend(mark.to_le_bytes()));
        }
        bytes.extend(self.codes.iter().map(|code| code.cast_unsigned()));
    }

    /// What [`Codes::write`] wrote of so many vectors.
    pub(crate) fn read(metric: Metric, dimensions: usize, count: usize, bytes: &mut Bytes<'_>) -> Option<Self> {
        let centre = bytes.take(dimensions, 8)?.as_chunks().0.iter().map(|part| f64::from_le_bytes(*part)).collect();
        let mut marks = || -> Option<Vec<f32>> {
            Some(bytes.take(count, 4)?.as_chunks().0.iter().map(|mark| f32::from_le_bytes(*mark)).collect())
        };
        let (scales, offsets, residuals, lengths) = (marks()?, marks()?, marks()?, marks()?);
        let codes = bytes.take(count, dimensions)?.iter().map(|code| code.cast_signed()).collect();
        Some(Self { metric, centre, codes, scales, offsets, residuals, lengths })
    }

    fn code(&self, place: u32) -> &[i8] {
        let start = place as usize * self.centre.len();
        self.codes.get(start..start + self.centre.len()).unwrap_or_default()
    }
}

/// A coded query with what it adds to the bounds.
///
/// Bounds are on the scale of exact dot products, and under L2 of minus half of the squared distance.
#[derive(Debug, Default)]
pub(crate) struct Question {
    metric: Metric,
    codes: Vec<i8>,
    centred: Centred,
    pub(super) scale: f32,
    /// The part of every score that no vector changes, with `slack` on top.
    pub(super) constant: f32,
    pub(super) slack: f32,
    /// What each unit of a vector's residual leaves open.
    pub(super) by_residual: f32,
    /// What each unit of a vector's coded length leaves open.
    pub(super) by_length: f32,
    rounding: f64,
}

impl Question {
    /// What a bound is at least, if its vector can have this score.
    pub(crate) fn reach(&self, score: f32) -> f32 {
        match self.metric {
            Metric::Dot => score,
            // Everything below -1 scores -1.
            Metric::Cosine if score <= -1.0 => f32::NEG_INFINITY,
            Metric::Cosine => score,
            Metric::L2 => {
                let distance = (f64::from(-score).max(0.0) + UNDERFLOW_ROOT) / (1.0 - self.rounding);
                down(-distance * distance / 2.0)
            }
        }
    }

    /// The score at least that a vector has whose value on the scale of bounds is at least `least`.
    pub(super) fn least_score(&self, least: f32) -> f32 {
        match self.metric {
            Metric::Dot => least,
            Metric::Cosine => least.clamp(-1.0, 1.0),
            Metric::L2 => {
                let distance = (-2.0 * f64::from(least)).max(0.0).sqrt();
                down(-(distance * (1.0 + self.rounding) + UNDERFLOW_ROOT))
            }
        }
    }
}

/// A vector without the centre. Subtraction in f64 leaves less than a 2^53rd part of each component.
#[derive(Debug, Default)]
struct Centred {
    vector: Vec<f64>,
    /// With the centre.
    whole: Vec<f64>,
    /// What its code stands for, and what is missing then.
    rounded: Vec<f64>,
    missing: Vec<f64>,
}

/// What [`Centred::code`] made of it.
struct Coded {
    scale: f32,
    /// At least the length of `scale * code`.
    length: f64,
    /// At least the length of what is missing.
    residual: f64,
}

impl Centred {
    fn set(&mut self, vector: &[f32], centre: &[f64]) {
        self.vector.clear();
        self.vector.extend(vector.iter().zip(centre).map(|(x, centre)| f64::from(*x) - centre));
    }

    fn square(&self) -> f64 {
        sum(&self.vector, &self.vector)
    }

    /// The residual is that of the codes as they are, so whatever they are, bounds hold.
    fn code(&mut self, codes: &mut [i8]) -> Coded {
        let Self { vector, rounded, missing, .. } = self;
        let greatest = vector.iter().fold(0.0_f64, |greatest, x| greatest.max(x.abs()));
        let scale = up(greatest / 127.0);
        let exact = f64::from(scale);
        let inverse = if scale > 0.0 { 1.0 / exact } else { 0.0 };
        // Adding it rounds to an integer, which is in the lowest bits then.
        const SHIFT: f64 = 1.5 * (1_u64 << 52) as f64;
        for buffer in [&mut *rounded, &mut *missing] {
            buffer.clear();
            buffer.resize(vector.len(), 0.0);
        }
        for ((x, code), (rounded, missing)) in vector.iter().zip(codes).zip(rounded.iter_mut().zip(missing.iter_mut()))
        {
            let shifted = x * inverse + SHIFT;
            let [low, ..] = shifted.to_bits().to_le_bytes();
            *code = low.cast_signed();
            *rounded = (shifted - SHIFT) * exact;
            *missing = x - *rounded;
        }
        let length = sum(rounded, rounded).sqrt() * (1.0 + ARITHMETIC_F64);
        let residual = sum(missing, missing).sqrt() * (1.0 + ARITHMETIC_F64) + length * ARITHMETIC_F64;
        Coded { scale, length, residual }
    }
}

/// Sum of the products, in an order that the compiler can make vector instructions of.
fn sum(a: &[f64], b: &[f64]) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// The least f32 that is not below.
#[expect(clippy::cast_possible_truncation, reason = "rounded, then corrected")]
fn up(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value { near.next_up() } else { near }
}

/// The greatest f32 that is not above.
fn down(value: f64) -> f32 {
    -up(-value)
}
