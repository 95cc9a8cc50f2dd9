//! The distance kernels.

/// Independent partial sums: the compiler turns them into vector registers, and the order of additions, and so the
/// result, does not depend on the machine.
const LANES: usize = 16;

/// The dot product of two vectors of equal length.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |x, y| x * y)
}

/// The squared Euclidean distance of two vectors of equal length.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    sum(a, b, |x, y| (x - y) * (x - y))
}

#[inline]
fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += term(*x, *y);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| term(*x, *y)).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_plain_sum() {
        for length in [1, 15, 16, 17, 384, 1_000] {
            let a: Vec<f32> = (0..length).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..length).map(|i| (i as f32 * 0.11).cos()).collect();
            let pairs = || a.iter().zip(&b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
            let (plain, squares): (f64, f64) =
                (pairs().map(|(x, y)| x * y).sum(), pairs().map(|(x, y)| (x - y) * (x - y)).sum());
            assert!((f64::from(dot(&a, &b)) - plain).abs() < 1e-3, "{length}");
            assert!((f64::from(squared_distance(&a, &b)) - squares).abs() < 1e-3, "{length}");
        }
    }
}
