//! A hit in the near cache allocates nothing.

use std::hint::black_box;
use std::sync::Arc;

use splittoken_store::Epoch;
use splittoken_store::near::{Filled, Lookup, MayRefuse, NearCache, NearConfig, Now, Overloaded};
use splittoken_token::{LookupId, Realm, Use};

#[derive(Clone, Debug)]
struct Refused;

impl From<Overloaded> for Refused {
    fn from(_: Overloaded) -> Self {
        Self
    }
}

impl MayRefuse for Refused {
    fn is_refusal(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_hit_allocates_nothing() {
    let near: NearCache<Arc<str>, Refused> = NearCache::new(NearConfig::default());
    let (realm, text) = (Realm::of("SplitTokenIssuer", "ns", "name"), "A".repeat(342));
    let filled = Filled {
        value: Arc::from("Bearer …"),
        weight: 8,
        exp: u64::MAX,
        connection: Epoch::new().stamp(),
        issuer: Epoch::new().stamp(),
    };
    let key = near.key(&realm, Use::Access, text.as_bytes());
    let ids = [LookupId::from_bytes([1; 32])];
    let read = || std::future::ready(Ok(Some(filled.clone())));
    near.fill(key, realm, &ids, read).await.unwrap();

    let counted = allocation_counter::measure(|| {
        for _ in 0..1000 {
            let key = near.key(&realm, Use::Access, black_box(text.as_bytes()));
            assert!(matches!(near.lookup(&key, Now::read()), Lookup::Fresh(_)));
        }
    });
    assert_eq!(counted.count_total, 0);
}
