//! What goes wrong, in an order that a seed draws: one thing at a time in stable, and whatever a canary may do.

use std::time::{Duration, Instant};

use control::view::{Phase, RolloutView};
use fastrand::Rng;
use loadtest::{Behaviour, Fraction, Latency, Origin, Reply, Setting};
use ureq::http::StatusCode;

use crate::site::{Site, well};

/// So long a bad canary may keep its share, which a plan of this site is over in. One that hangs is known to do so after 3 s.
const HELD: Duration = Duration::from_secs(20);

/// What was done, and what of it users may have noticed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) faults: u64,
    pub(crate) reloads: u64,
    pub(crate) weights: u64,
    pub(crate) upgrades: u64,
    /// Answers of DNS that were others, or none.
    pub(crate) names: u64,
    pub(crate) promoted: u64,
    pub(crate) rolled_back: u64,
    /// Canaries that were broken outright, and were promoted.
    pub(crate) bad_promoted: u64,
    /// And that were never taken back, though nothing more was given to them.
    pub(crate) held: u64,
    /// Replies that were cut after they began, and requests that were under way at an endpoint which was killed.
    pub(crate) excusable: u64,
}

/// Does one thing after another.
pub(crate) struct Faults {
    rng: Rng,
    pub(crate) done: Done,
    /// Tells each act as it is done.
    pub(crate) tells: fn(&str),
}

impl Faults {
    pub(crate) fn new(seed: u64, tells: fn(&str)) -> Self {
        Self { rng: Rng::with_seed(seed), done: Done::default(), tells }
    }

    /// Does the next thing, and mends it. `upgrades`: the executable may be replaced.
    pub(crate) fn next(&mut self, site: &mut Site, upgrades: bool) -> anyhow::Result<()> {
        match self.rng.u8(0..14) {
            0..5 => self.stable_is_ill(site),
            5 => self.reload(site),
            6 => self.weight_by_hand(site),
            7 => self.good_rollout(site),
            8 | 9 => self.bad_rollout(site),
            10 => self.names_change(site),
            11 => self.names_fail(site),
            // Drawn whether or not it may be done, so that a seed draws the same faults.
            _ if upgrades => self.upgrade(site),
            _ => Ok(()),
        }
    }

    fn upgrade(&mut self, site: &mut Site) -> anyhow::Result<()> {
        (self.tells)("upgrade");
        self.done.upgrades += 1;
        site.upgrade()
    }

    /// The rolling deploy of a service behind a name: each answer leaves one address out and brings in another.
    fn names_change(&mut self, site: &mut Site) -> anyhow::Result<()> {
        for _ in 0..self.rng.u8(1..4) {
            (self.tells)("an address of v1 is another one");
            self.done.names += 1;
            site.move_addresses()?;
        }
        Ok(())
    }

    /// The addresses in use stay.
    fn names_fail(&mut self, site: &Site) -> anyhow::Result<()> {
        let reply = match self.rng.u8(0..5) {
            0 => Reply::NoSuchName,
            1 => Reply::Addresses(Vec::new(), 0),
            2 => Reply::Code(2),
            3 => Reply::Nonsense(vec![0x81; 40]),
            _ => Reply::Silence,
        };
        (self.tells)(&format!("DNS says {reply:?}"));
        self.done.names += 1;
        site.dns_says(Some(reply));
        site.until_named(true)?;
        self.wait(500..3_000);
        site.dns_says(None);
        site.until_named(false)
    }

    /// One endpoint of stable is ill for some seconds. All others are well.
    fn stable_is_ill(&mut self, site: &mut Site) -> anyhow::Result<()> {
        site.until_well()?;
        let place = self.rng.usize(..site.in_use().len());
        let setting = self.illness();
        (self.tells)(&format!("{} of v1: {}", site.v1[place].name(), words(&setting)));
        self.fall_ill(&site.v1[place], setting);
        self.wait(2_000..6_000);
        self.mend(&site.v1[place..=place]);
        site.forget_ejections()?;
        site.until_well()
    }

    fn illness(&mut self) -> Setting {
        let half = Fraction::new(0.5).unwrap_or(Fraction::ONE);
        let ten = Latency::fixed(Duration::from_millis(50));
        let that = |behaviour| Setting { behaviour, ..well() };
        match self.rng.u8(0..9) {
            0 => that(Behaviour::Refuse),
            1 => that(Behaviour::Leave),
            2 => that(Behaviour::Hang),
            3 => that(Behaviour::Reset),
            4 => Setting { affected: half, ..that(Behaviour::Reset) },
            5 => that(Behaviour::Garbage),
            6 => Setting { errors: half, error_status: StatusCode::SERVICE_UNAVAILABLE, ..well() },
            7 => Setting { affected: Fraction::new(0.05).unwrap_or(half), ..that(Behaviour::Cut) },
            _ => Setting { latency: ten, ..well() },
        }
    }

    fn fall_ill(&mut self, origin: &Origin, setting: Setting) {
        self.done.faults += 1;
        if matches!(setting.behaviour, Behaviour::Refuse | Behaviour::Leave) {
            self.done.excusable += origin.arrivals().in_progress;
        }
        origin.begin_incident();
        origin.dial().set(setting);
    }

    /// They are well again. What they cut meanwhile was seen.
    fn mend(&mut self, origins: &[Origin]) {
        for origin in origins {
            let was = origin.dial().setting().behaviour;
            origin.dial().set(well());
            if was == Behaviour::Cut {
                self.done.excusable += origin.arrivals().incident.map_or(0, |incident| incident.bad);
            }
        }
    }

    fn reload(&mut self, site: &mut Site) -> anyhow::Result<()> {
        (self.tells)("reload");
        self.done.reloads += 1;
        site.reload()
    }

    fn weight_by_hand(&mut self, site: &Site) -> anyhow::Result<()> {
        for _ in 0..self.rng.u8(2..6) {
            let weight = self.rng.u16(0..=10_000);
            (self.tells)(&format!("v2 at {} % by hand", f64::from(weight) / 100.0));
            self.done.weights += 1;
            site.weigh(weight)?;
            self.wait(300..1_500);
        }
        site.weigh(0)
    }

    fn good_rollout(&mut self, site: &Site) -> anyhow::Result<()> {
        (self.tells)("a good rollout");
        site.start_rollout()?;
        let ended = self.ended(site)?;
        if ended == Phase::Promoted {
            self.done.promoted += 1;
            self.wait(500..2_000);
            (self.tells)("undo");
            site.act("undo")?;
        } else {
            // Chance, or a fault of stable that the canary was compared with: nothing is lost.
            self.done.rolled_back += 1;
        }
        Ok(())
    }

    fn bad_rollout(&mut self, site: &Site) -> anyhow::Result<()> {
        site.start_rollout()?;
        self.wait(1_000..6_000);
        let behaviour = [
            Behaviour::Serve,
            Behaviour::Reset,
            Behaviour::Hang,
            Behaviour::Garbage,
            Behaviour::Cut,
            Behaviour::Refuse,
        ];
        let behaviour = behaviour[self.rng.usize(..behaviour.len())];
        let errors = if behaviour == Behaviour::Serve { Fraction::ONE } else { Fraction::ZERO };
        let setting = Setting { behaviour, errors, ..well() };
        (self.tells)(&format!("a rollout of a v2 that turns bad: {}", words(&setting)));
        for origin in &site.v2 {
            self.fall_ill(origin, setting);
        }
        let rollout = self.soon_ended(site)?;
        self.mend(&site.v2);
        if rollout.phase == Phase::Promoted {
            self.done.bad_promoted += 1;
            return site.act("undo");
        }
        if rollout.phase.has_ended() {
            self.done.rolled_back += 1;
            return Ok(());
        }
        // Where stable has had incidents of its own, that takes its time.
        self.done.held += 1;
        site.act("abort")
    }

    /// The rollout that runs, once it has ended, or has had as long as some plans take.
    fn soon_ended(&self, site: &Site) -> anyhow::Result<RolloutView> {
        let until = Instant::now() + HELD;
        site.until("the end of a rollout", || {
            site.rollout().ok().filter(|rollout| rollout.phase.has_ended() || Instant::now() >= until)
        })
    }

    /// How the rollout that runs ended.
    fn ended(&self, site: &Site) -> anyhow::Result<Phase> {
        site.until("the end of a rollout", || site.rollout().ok().map(|it| it.phase).filter(|phase| phase.has_ended()))
    }

    fn wait(&mut self, millis: std::ops::Range<u64>) {
        let until = Instant::now() + Duration::from_millis(self.rng.u64(millis));
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

fn words(setting: &Setting) -> String {
    let Setting { behaviour, affected, errors, error_status, .. } = setting;
    match behaviour {
        Behaviour::Serve if errors.get() > 0.0 => format!("{error_status} to {} of them", errors.get()),
        Behaviour::Serve => "slow".to_owned(),
        Behaviour::Hang
        | Behaviour::Reset
        | Behaviour::Cut
        | Behaviour::Drip
        | Behaviour::Flood
        | Behaviour::Garbage
        | Behaviour::Refuse
        | Behaviour::Leave => format!("{behaviour:?} of {}", affected.get()),
    }
}
