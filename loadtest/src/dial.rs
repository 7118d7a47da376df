//! What an origin is told to do, changed at any time.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use http::StatusCode;
use tokio::sync::watch;

/// No latency that is drawn is longer.
const LONGEST: Duration = Duration::from_secs(3600);
/// The widest spread of a log-normal latency. Real services are between 0.2 and 2.
const WIDEST_SIGMA: f64 = 10.0;

/// How an origin treats its requests. Every one of them reads the whole request first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Answers.
    #[default]
    Serve,
    /// Never answers.
    Hang,
    /// Ends the connection with a TCP reset in place of an answer.
    Reset,
    /// Sends a head and half of the body that it announces, then closes.
    Cut,
    /// Sends a head at once, and then a byte of the body each second, without end.
    Drip,
    /// Sends a head at once, and then a body without end, 10 MB a second.
    Flood,
    /// Sends bytes that are not HTTP, then closes.
    Garbage,
    /// Closes the listener and every connection, as a process that was killed: connections are refused until the
    /// behaviour is another one again, on the same port.
    Refuse,
    /// Closes the listener, and each connection once its request is answered, as a process that was told to end:
    /// connections are refused until the behaviour is another one again, on the same port.
    Leave,
}

impl Behaviour {
    /// Whether nobody listens.
    pub(crate) const fn is_away(self) -> bool {
        match self {
            Self::Refuse | Self::Leave => true,
            Self::Serve | Self::Hang | Self::Reset | Self::Cut | Self::Drip | Self::Flood | Self::Garbage => false,
        }
    }
}

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Fraction(f64);

impl Fraction {
    /// None of them.
    pub const ZERO: Self = Self(0.0);
    /// All of them.
    pub const ONE: Self = Self(1.0);

    /// A fraction.
    ///
    /// # Errors
    /// Where the value is not from 0 to 1.
    pub fn new(value: f64) -> Result<Self, InvalidDial> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(InvalidDial::Fraction(value)) }
    }

    /// The value, 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// True for this fraction of the draws.
    pub(crate) fn draw(self, rng: &mut Rng) -> bool {
        rng.f64() < self.0
    }
}

/// How long an origin takes before it answers. Timers tick in whole milliseconds, so a drawn time is rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Latency(Shape);

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Shape {
    #[default]
    None,
    Fixed(Duration),
    Uniform {
        from: Duration,
        to: Duration,
    },
    LogNormal {
        median: Duration,
        sigma: f64,
    },
}

impl Latency {
    /// Answers at once.
    pub const NONE: Self = Self(Shape::None);

    /// Always the same; an hour at most.
    #[must_use]
    pub fn fixed(latency: Duration) -> Self {
        Self(Shape::Fixed(latency.min(LONGEST)))
    }

    /// Anything between two times, each as likely.
    ///
    /// # Errors
    /// Where the second is shorter than the first.
    pub fn uniform(from: Duration, to: Duration) -> Result<Self, InvalidDial> {
        if from <= to { Ok(Self(Shape::Uniform { from, to })) } else { Err(InvalidDial::Uniform { from, to }) }
    }

    /// The shape of most real services: half of the requests take longer than the median, and `sigma` is the
    /// standard deviation of the logarithm (0.5 gives a p99 of 3.2 medians, 1 gives 10).
    ///
    /// # Errors
    /// Where sigma is not from 0 to 10.
    pub fn log_normal(median: Duration, sigma: f64) -> Result<Self, InvalidDial> {
        if (0.0..=WIDEST_SIGMA).contains(&sigma) {
            Ok(Self(Shape::LogNormal { median, sigma }))
        } else {
            Err(InvalidDial::Sigma(sigma))
        }
    }

    /// Draws one latency, an hour at most.
    #[must_use]
    pub fn draw(self, rng: &mut Rng) -> Duration {
        let drawn = match self.0 {
            Shape::None => Duration::ZERO,
            Shape::Fixed(latency) => latency,
            Shape::Uniform { from, to } => from.saturating_add((to - from).min(LONGEST).mul_f64(rng.f64())),
            Shape::LogNormal { median, sigma } => {
                let seconds = median.as_secs_f64() * (sigma * standard_normal(rng)).exp();
                Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST)
            }
        };
        drawn.min(LONGEST)
    }
}

/// One draw of the standard normal distribution (Box and Muller).
fn standard_normal(rng: &mut Rng) -> f64 {
    // 1 - u is above 0, so the logarithm is finite.
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

/// Everything that a dial sets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// How requests are treated.
    pub behaviour: Behaviour,
    /// Which fraction of the requests meets that behaviour; the others are served. Who is away is so for all.
    pub affected: Fraction,
    /// Which fraction of them is answered with an error.
    pub errors: Fraction,
    /// The status of those; 500.
    pub error_status: StatusCode,
    /// How long an answer takes.
    pub latency: Latency,
    /// How many bytes the body has; `None` for the origin's name and a line feed.
    pub body_bytes: Option<u32>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            behaviour: Behaviour::Serve,
            affected: Fraction::ONE,
            errors: Fraction::ZERO,
            error_status: StatusCode::INTERNAL_SERVER_ERROR,
            latency: Latency::NONE,
            body_bytes: None,
        }
    }
}

/// Sets what an origin does. A change takes effect for the next request, on connections that are open too.
#[derive(Debug)]
pub struct Dial(watch::Sender<Setting>);

impl Dial {
    pub(crate) fn new(setting: Setting) -> Self {
        Self(watch::Sender::new(setting))
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Setting> {
        self.0.subscribe()
    }

    /// What is set now.
    #[must_use]
    pub fn setting(&self) -> Setting {
        *self.0.borrow()
    }

    /// Sets everything.
    pub fn set(&self, setting: Setting) {
        self.0.send_replace(setting);
    }

    /// Sets how requests are treated.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.0.send_modify(|setting| setting.behaviour = behaviour);
    }

    /// Sets which fraction of the requests is answered with an error.
    pub fn set_errors(&self, errors: Fraction) {
        self.0.send_modify(|setting| setting.errors = errors);
    }

    /// Sets how long an answer takes.
    pub fn set_latency(&self, latency: Latency) {
        self.0.send_modify(|setting| setting.latency = latency);
    }

    /// Sets how many bytes a body has; `None` for the origin's name and a line feed.
    pub fn set_body_bytes(&self, body_bytes: Option<u32>) {
        self.0.send_modify(|setting| setting.body_bytes = body_bytes);
    }
}

/// A value that no dial has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InvalidDial {
    /// Not from 0 to 1.
    Fraction(f64),
    /// The second time is shorter than the first.
    Uniform {
        /// The first.
        from: Duration,
        /// The second.
        to: Duration,
    },
    /// Not from 0 to 10.
    Sigma(f64),
}

impl fmt::Display for InvalidDial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction(value) => write!(f, "{value} is no fraction: it must be from 0 to 1"),
            Self::Uniform { from, to } => {
                write!(f, "a latency between {from:?} and {to:?} is impossible: the second must not be shorter")
            }
            Self::Sigma(sigma) => {
                write!(f, "{sigma} is no spread of a log-normal latency: it must be from 0 to {WIDEST_SIGMA}")
            }
        }
    }
}

impl std::error::Error for InvalidDial {}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(latency: Latency) -> Vec<Duration> {
        let mut rng = Rng::with_seed(7);
        let mut all: Vec<_> = (0..20_001).map(|_| latency.draw(&mut rng)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_log_normal_latency_has_its_median_and_its_tail() {
        let all = drawn(Latency::log_normal(Duration::from_millis(10), 0.5).unwrap());
        let (median, p99) = (all[10_000].as_secs_f64(), all[19_800].as_secs_f64());
        assert!((0.0097..0.0103).contains(&median), "median {median}");
        assert!((0.029..0.035).contains(&p99), "p99 {p99}");
    }

    #[test]
    fn a_uniform_latency_fills_its_range() {
        let (from, to) = (Duration::from_millis(2), Duration::from_millis(4));
        let all = drawn(Latency::uniform(from, to).unwrap());
        assert!(all[0] >= from && all[20_000] <= to);
        assert!(all[0] < Duration::from_micros(2_010) && all[20_000] > Duration::from_micros(3_990));
    }

    #[test]
    fn no_draw_is_longer_than_an_hour() {
        let all = drawn(Latency::log_normal(Duration::MAX, 10.0).unwrap());
        assert_eq!(all[20_000], LONGEST);
        assert!(drawn(Latency::uniform(Duration::ZERO, Duration::MAX).unwrap())[20_000] <= LONGEST);
    }

    #[test]
    fn impossible_values_are_refused_in_words() {
        for (error, words) in [
            (Fraction::new(1.01).unwrap_err(), "1.01 is no fraction: it must be from 0 to 1"),
            (Fraction::new(f64::NAN).unwrap_err(), "NaN is no fraction: it must be from 0 to 1"),
            (
                Latency::log_normal(Duration::ZERO, -1.0).unwrap_err(),
                "-1 is no spread of a log-normal latency: it must be from 0 to 10",
            ),
            (
                Latency::uniform(Duration::from_millis(2), Duration::from_millis(1)).unwrap_err(),
                "a latency between 2ms and 1ms is impossible: the second must not be shorter",
            ),
        ] {
            assert_eq!(error.to_string(), words);
        }
    }

    #[test]
    fn a_fraction_is_drawn_as_often_as_it_says() {
        let mut rng = Rng::with_seed(7);
        let tenth = Fraction::new(0.1).unwrap();
        let hits = (0..100_000).filter(|_| tenth.draw(&mut rng)).count();
        assert!((9_600..10_400).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| Fraction::ONE.draw(&mut rng) && !Fraction::ZERO.draw(&mut rng)));
    }
}
