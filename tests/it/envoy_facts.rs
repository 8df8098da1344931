//! x
use super::support::{envoy::*, standin::*, upstream::*, http1::Request};
#[tokio::test]
async fn envoy_1_40_allows_an_empty_check_response() {
    let upstream = Upstream::start().await;
    let standin = StandIn::start(Answer::Bytes(Vec::new())).await;
    let envoy = EnvoyBuilder::plain(standin.service(), upstream.address).start().await;
    let reply = Request::get("/x").send(envoy.address).await;
    assert_eq!(reply.status, 200);
    assert_eq!(upstream.take_one().target, "/x");
    println!("{:#?}", standin.take_one());
}
