//! One request and its response.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time;

use super::client::{Client, Lease, failure};
use super::passage::{Ending, Passage};
use super::request::Template;

/// What every request of a load needs.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) template: Template,
    pub(super) client: Client,
    pub(super) timeout: Option<Duration>,
}

impl Exchange {
    /// Sends a request, reads its response to the end, and counts what became of it.
    pub(super) async fn perform(&self, mut passage: Passage) {
        passage.departs();
        let talk = self.talk(&mut passage);
        let (ending, lease) = match self.timeout {
            None => talk.await,
            // Leaving drops the connection with the conversation on it.
            Some(limit) => time::timeout(limit, talk).await.unwrap_or((Ending::TimedOut, None)),
        };
        passage.conclude(ending);
        if let Some(lease) = lease {
            self.client.give_back(lease).await;
        }
    }

    async fn talk(&self, passage: &mut Passage) -> (Ending, Option<Lease>) {
        let (mut response, lease) = match self.client.send(self.template.request(passage.client())).await {
            Ok(begun) => begun,
            Err(ending) => return (ending, None),
        };
        passage.head(response.headers());
        while let Some(frame) = response.body_mut().frame().await {
            if let Err(error) = frame {
                return (Ending::Failed(failure(&error)), None);
            }
        }
        (Ending::Answered(response.status()), Some(lease))
    }
}
