//! What became of copies of requests, in the words of the control plane.

use config::{GrpcCodes, MirrorPart};
use control::plane::{MirrorAnswer, MirrorSample};
use meter::Class;
use proxy::mirror::{Difference, Sample, Told};

/// A difference as it is told.
pub(super) fn sample(sample: Sample) -> MirrorSample {
    let Sample { at, what, method, path, stable, canary } = sample;
    let part = match what {
        Difference::Failed => MirrorPart::Errors,
        Difference::Status => MirrorPart::Status,
        Difference::Body => MirrorPart::Body,
    };
    let canary = canary.map_or_else(unanswered, answer);
    MirrorSample { at, part, method, path, stable: answer(stable), canary }
}

fn answer(told: Told) -> MirrorAnswer {
    let Told { status, grpc, headers, body_hash, .. } = told;
    let failure = grpc.filter(|code| *code > 0).map(|code| {
        let name = usize::try_from(code).ok().and_then(|place| GrpcCodes::NAMES.get(place));
        format!("gRPC status {code} ({})", name.unwrap_or(&"unknown"))
    });
    MirrorAnswer { status: Some(status), headers, body: Some(format!("{body_hash:016x}")), failure }
}

fn unanswered(class: Class) -> MirrorAnswer {
    MirrorAnswer { failure: Some(why(class).to_owned()), ..MirrorAnswer::default() }
}

const fn why(class: Class) -> &'static str {
    match class {
        Class::ConnectError => "no endpoint could be connected to",
        Class::Timeout => "no whole answer in time",
        Class::Reset => "the connection broke before the whole answer was there",
        Class::ProtocolError => "what it answered is no sound response",
        Class::Success
        | Class::Redirect
        | Class::ClientError
        | Class::ServerError
        | Class::GrpcError
        | Class::Upgrade
        | Class::ClientAbort
        | Class::Local => "no whole answer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn told(status: u16, grpc: Option<u32>) -> Told {
        let headers = vec![("x-a".to_owned(), "b".to_owned())];
        Told { status, grpc, headers, body_hash: 0xAB, body_bytes: 3 }
    }

    fn found(what: Difference, canary: Result<Told, Class>) -> MirrorSample {
        let (method, path) = ("GET".to_owned(), "/cart".to_owned());
        sample(Sample { at: UNIX_EPOCH, what, method, path, stable: told(200, Some(0)), canary })
    }

    #[test]
    fn an_answer_is_told_with_its_status_and_the_hash_of_its_body() {
        let found = found(Difference::Body, Ok(told(200, None)));
        let answer = MirrorAnswer {
            status: Some(200),
            headers: vec![("x-a".to_owned(), "b".to_owned())],
            body: Some("00000000000000ab".to_owned()),
            failure: None,
        };
        assert_eq!((found.part, found.method.as_str(), found.path.as_str()), (MirrorPart::Body, "GET", "/cart"));
        assert_eq!((&found.stable, &found.canary), (&answer, &answer));
    }

    #[test]
    fn a_failure_is_told_in_words() {
        let dead = found(Difference::Failed, Err(Class::ConnectError));
        assert_eq!((dead.part, dead.canary.status), (MirrorPart::Errors, None));
        assert_eq!(dead.canary.failure.as_deref(), Some("no endpoint could be connected to"));
        let call = found(Difference::Status, Ok(told(200, Some(13))));
        assert_eq!(
            (call.part, call.canary.failure.as_deref()),
            (MirrorPart::Status, Some("gRPC status 13 (INTERNAL)"))
        );
    }
}
