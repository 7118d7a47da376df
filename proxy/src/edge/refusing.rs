//! Why a request goes no further, whatever service it is for.

use config::Rules;
use pingora_proxy::Session;

use super::Edge;
use crate::answer::{IN_CIRCLES, TOO_MANY};
use crate::connection::Connection;
use crate::request::Request;
use crate::request_check::Refusal;
use crate::server::refusals::Why;

impl Edge {
    /// It goes in circles, or its client has too much under way. Where that is counted it is, from now on.
    pub(super) fn refuses(&self, session: &Session, ctx: &mut Request, rules: &Rules) -> Option<Refusal> {
        if self.instance.has_seen_enough_of(&session.req_header().headers) {
            self.refusals.tell(Why::Circles, ctx.began());
            return Some(IN_CIRCLES);
        }
        let asking = Connection::asking(session)?;
        let most = rules.limits.requests_per_client.min(self.most_of_one_client);
        ctx.asked = asking.begin(most);
        if ctx.asked.is_some() {
            return None;
        }
        self.refusals.tell(Why::Requests(ctx.client, most), ctx.began());
        Some(TOO_MANY)
    }
}
