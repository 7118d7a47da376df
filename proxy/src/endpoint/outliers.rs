//! Which endpoints succeed far less often than their version's others (Envoy's outlier detection by success rate).

/// Fewer endpoints with enough requests than this are not compared.
const FEWEST_ENDPOINTS: usize = 5;
/// An endpoint with fewer requests than this is not compared.
const FEWEST_REQUESTS: u32 = 100;
/// Standard deviations of the endpoints' success rates below their mean.
const DEVIATIONS: f64 = 1.9;
/// Standard errors of the endpoint's own rate, were it as good as the mean. Without it, one failure among five
/// endpoints that have none otherwise would be far out.
const ERRORS: f64 = 3.0;

/// The places of the outliers among endpoints that had so many requests, of which so many failed.
pub(super) fn outliers(rates: &[(u32, u32)]) -> impl Iterator<Item = usize> + '_ {
    let rate = |(requests, failed): (u32, u32)| 1.0 - f64::from(failed) / f64::from(requests);
    let compared = || rates.iter().copied().filter(|(requests, _)| *requests >= FEWEST_REQUESTS);
    let count = compared().count();
    let mean = compared().map(rate).sum::<f64>() / count as f64;
    let variance = compared().map(|one| (rate(one) - mean).powi(2)).sum::<f64>() / count as f64;
    let is_outlier = move |one: (u32, u32)| {
        let gap = mean - rate(one);
        let by_chance = (mean * (1.0 - mean) / f64::from(one.0)).sqrt();
        gap > DEVIATIONS * variance.sqrt() && gap > ERRORS * by_chance
    };
    rates
        .iter()
        .enumerate()
        .filter(move |(_, one)| count >= FEWEST_ENDPOINTS && one.0 >= FEWEST_REQUESTS && is_outlier(**one))
        .map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rates: &[(u32, u32)]) -> Vec<usize> {
        outliers(rates).collect()
    }

    #[test]
    fn the_one_that_fails_far_more_often_is_an_outlier() {
        assert_eq!(found(&[(200, 1), (200, 0), (200, 60), (200, 2), (200, 0)]), [2]);
        assert_eq!(found(&[(200, 200), (200, 0), (200, 0), (200, 0), (200, 0)]), [0]);
    }

    #[test]
    fn where_all_fail_alike_none_is() {
        assert_eq!(found(&[(200, 100); 5]), [0_usize; 0]);
        assert_eq!(found(&[(200, 200); 6]), [0_usize; 0]);
        assert_eq!(found(&[(200, 0); 6]), [0_usize; 0]);
        assert_eq!(found(&[(0, 0); 6]), [0_usize; 0]);
    }

    #[test]
    fn a_stray_failure_is_none() {
        assert_eq!(found(&[(200, 1), (200, 0), (200, 0), (200, 0), (200, 0)]), [0_usize; 0]);
        assert_eq!(found(&[(100_000, 1), (100_000, 0), (100_000, 0), (100_000, 0), (100_000, 0)]), [0_usize; 0]);
    }

    #[test]
    fn too_few_endpoints_or_requests_are_not_compared() {
        assert_eq!(found(&[(200, 200), (200, 0), (200, 0), (200, 0)]), [0_usize; 0]);
        assert_eq!(found(&[(99, 99), (200, 0), (200, 0), (200, 0), (200, 0)]), [0_usize; 0]);
        assert_eq!(found(&[(99, 99), (200, 0), (200, 0), (200, 0), (200, 0), (200, 0)]), [0_usize; 0]);
    }
}
