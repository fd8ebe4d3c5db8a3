//! The price list: all pages, without a login; a day's cache; an old cache before the committed table.

use chrono::{DateTime, TimeDelta, Utc};
use democtl::target::azure::prices::PriceList;
use democtl_core::cost::{PriceKind, Prices};
use democtl_fake_azure::World;

use crate::common::azure;

const SIZES: [&str; 2] = ["Standard_D4s_v5", "Standard_D8s_v5"];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a date")
}

#[tokio::test]
async fn prices_are_fetched_kept_and_told_by_their_kind() {
    let mut world = World::default();
    for price in &mut world.prices {
        price.usd *= 2.0;
    }
    let (fake, _) = azure(world).await;
    let cache = tempfile::tempdir().expect("a temporary directory can be made");
    let list = PriceList { endpoint: fake.url.clone(), cache: cache.path().join("cache") };
    let prices = list.current(Prices::committed(), &SIZES, "westeurope", now()).await;
    assert_eq!((prices.kind, prices.vm["Standard_D4s_v5"]), (PriceKind::List, 0.46));
    assert_eq!(prices.as_of, "2027-01-15");
    assert!(fake.world().log.iter().all(|logged| !logged.with_token), "nobody needs to know who asks");
    let asked = fake.world().log.len();
    assert_eq!(asked, 4, "four items of each size on pages of two");

    let later = now() + TimeDelta::hours(23);
    assert_eq!(list.current(Prices::committed(), &SIZES, "westeurope", later).await, prices);
    assert_eq!(fake.world().log.len(), asked, "from the cache");

    drop(fake);
    let gone = PriceList { endpoint: "http://127.0.0.1:1".into(), ..list };
    let old = gone.current(Prices::committed(), &SIZES, "westeurope", now() + TimeDelta::days(30)).await;
    assert_eq!((old.kind, old.vm["Standard_D8s_v5"]), (PriceKind::Cached, 0.92));
    assert!(old.origin.contains("cached") && old.as_of == "2027-01-15", "{old:?}");
    let never = gone.current(Prices::committed(), &SIZES, "northeurope", now()).await;
    assert_eq!(never, Prices::committed());
}
