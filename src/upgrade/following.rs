//! The old process's side after it has handed over: it drains, steers what is left by what the new one decides, and tells
//! it what that is. It decides nothing, and waits for nobody: where the new one is gone, it goes on as it was told last.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use config::{Configuration, Name};
use control::plane::DataPlane;
use control::process::{DrainView, Process};
use tracing::info;

use super::course::{Course, Left, There};
use super::now;
use super::wire::{Broken, Message, Wire};

/// How often the new process is told what is left.
const TELL: Duration = Duration::from_secs(1);

/// A thread that does so, until the end.
#[derive(Debug)]
pub(crate) struct Following {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the old process has: its data plane, and what it was to serve.
pub(crate) struct Own {
    pub(crate) plane: Box<dyn DataPlane>,
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) process: Process,
}

impl Following {
    /// Follows the process at the other end.
    pub(crate) fn begin(wire: Wire, own: Own) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let follower = Follower { wire, own, gone: Gone::default(), tells_next: now(), is_told: false };
        let thread = thread::Builder::new().name("tidegate-follows".to_owned());
        // Without a thread it drains with the split that it has.
        let thread = thread.spawn(move || follower.run(&ends)).ok();
        Self { is_over, thread }
    }
}

impl Drop for Following {
    /// Tells what is left, for the last time.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}

struct Follower {
    wire: Wire,
    own: Own,
    gone: Gone,
    tells_next: Instant,
    is_told: bool,
}

impl Follower {
    fn run(mut self, is_over: &AtomicBool) {
        loop {
            match self.wire.hear() {
                Ok(Some((Message::Course(course), _))) => self.follow(&course, now()),
                // A later version may say more than this one understands.
                Ok(_) | Err(Broken::Strange) => {}
                Err(Broken::Gone | Broken::Lost(_)) => return,
            }
            for (service, version) in self.gone.due(now()) {
                self.own.plane.end_lasting(&service, &version);
            }
            let ends = is_over.load(Ordering::Acquire);
            if ends || now() >= self.tells_next {
                self.tell();
            }
            if ends {
                return;
            }
        }
    }

    fn follow(&mut self, course: &Course, now: Instant) {
        let Own { plane, configuration, .. } = &mut self.own;
        let Some(service) = configuration.services.iter().find(|service| service.name.as_str() == course.service)
        else {
            return;
        };
        if !self.is_told {
            self.is_told = true;
            info!("upgrade: what is left here follows the new process from now on");
        }
        if let Some((name, split)) = course.split() {
            plane.steer(&name, &split);
        }
        for version in course.over() {
            plane.end_lasting(&service.name, &version);
        }
        self.gone.follow(course, service, now);
    }

    fn tell(&mut self) {
        // It drains from the first moment on, and says so a moment later.
        let Some(DrainView { connections, left_s, .. }) = self.own.process.view().drain else { return };
        self.tells_next = now() + TELL;
        let plane = &self.own.plane;
        let services = self.own.configuration.services.iter();
        let versions = services.flat_map(|service| service.versions.iter().map(move |it| (&service.name, &it.name)));
        let there = versions.map(|(service, version)| There {
            service: service.to_string(),
            version: version.to_string(),
            in_flight: plane.in_flight(service, version),
            lasting: plane.lasting(service, version),
            ended: plane.ended_lasting(service, version),
        });
        let left = Left::new(connections, (left_s * 1000.0) as u64, there.collect());
        // Who does not listen just now hears the next one.
        let _ = self.wire.try_say(&Message::Left(left));
    }
}

/// Versions of ours that the new process does not have: what lasts there has as long as the plan of their service gives it,
/// as after a reload that removed them.
#[derive(Debug, Default)]
struct Gone(HashMap<(Name, Name), Due>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    At(Instant),
    /// It was asked to end, or may stay for ever.
    NoMore,
}

impl Gone {
    fn follow(&mut self, course: &Course, service: &config::Service, now: Instant) {
        for version in &service.versions {
            let key = (service.name.clone(), version.name.clone());
            if course.versions.contains(version.name.as_str()) {
                self.0.remove(&key);
                continue;
            }
            let due = service.plan.drain.and_then(|drain| now.checked_add(drain)).map_or(Due::NoMore, Due::At);
            self.0.entry(key).or_insert(due);
        }
    }

    /// Those whose time is over, each once.
    fn due(&mut self, now: Instant) -> Vec<(Name, Name)> {
        let mut over = Vec::new();
        for (version, due) in &mut self.0 {
            if matches!(due, Due::At(at) if *at <= now) {
                *due = Due::NoMore;
                over.push(version.clone());
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "services: { shop: { stable: v1, plan: { drain: 10s }, versions: { v1: { endpoints: ['a:1'] }, \
        v2: { endpoints: ['b:1'] } } } }";

    #[test]
    fn what_the_new_process_does_not_have_is_over_once_when_its_time_is_and_not_where_it_comes_back() {
        let service = config::parse(TEXT, "test.yaml").unwrap().configuration.services.remove(0);
        let course = |versions: &str| -> Course {
            serde_json::from_str(&format!(r#"{{"service":"shop","versions":{versions},"split":null,"over":[]}}"#))
                .unwrap()
        };
        let (began, mut gone) = (now(), Gone::default());
        let at = |seconds| began + Duration::from_secs(seconds);
        gone.follow(&course(r#"["v1"]"#), &service, at(0));
        gone.follow(&course(r#"["v1"]"#), &service, at(5));
        assert!(gone.due(at(9)).is_empty());
        let due: Vec<_> = gone.due(at(10)).into_iter().map(|(_, version)| version.to_string()).collect();
        assert_eq!((due, gone.due(at(11)).len()), (vec!["v2".to_owned()], 0));
        gone.follow(&course("[]"), &service, at(20));
        gone.follow(&course(r#"["v1", "v2"]"#), &service, at(25));
        assert!(gone.due(at(60)).is_empty());
    }
}
