//! HEAD, OPTIONS, and requests without a route.

use crate::house::{House, On, on_both};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tenancy_server::http::router::all;

on_both!(
    head_must_answer_as_get_without_a_body,
    allow_must_name_every_method_of_a_path,
    what_leads_to_no_route_must_be_counted,
);

async fn head_must_answer_as_get_without_a_body(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    for path in ["/healthz", "/v1/tenants", "/v1/tenants/acme-eu", "/v1/tenants/acme-eu/environments/dev"] {
        let (get, head) = (house.get(path).await.ok(200), house.send("HEAD", path, &[], ()).await.ok(200));
        assert_eq!(head.body, "", "{path}");
        for name in ["etag", "content-type"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
    for (path, status) in [("/v1/tenants/nobody", 404), ("/v1/tenants?no_such=1", 400), ("/nowhere", 404)] {
        assert_eq!(house.send("HEAD", path, &[], ()).await.ok(status).body, "", "{path}");
    }
    let nobody = house.send_as_it_is("HEAD", "/v1/tenants/acme-eu", &[], ()).await.ok(401);
    assert_eq!((nobody.header("etag"), &nobody.body), ("", &json!("")));
}

async fn allow_must_name_every_method_of_a_path(on: On) {
    let house = House::new(on).await;
    let mut methods = BTreeMap::<String, BTreeSet<String>>::new();
    for route in all().into_iter().filter(|route| !route.gives_verdicts) {
        let of_path = methods.entry(route.path).or_default();
        of_path.insert(route.method.to_owned());
        if route.method == "GET" {
            of_path.insert("HEAD".to_owned());
        }
    }
    for (path, methods) in methods {
        let path = path.replace(['{', '}'], "");
        for method in ["OPTIONS", "BREW"] {
            let refused = house.send_as_it_is(method, &path, &[], ()).await.ok(405);
            assert_eq!(refused.code(), "method_not_allowed", "{method} {path}");
            let allowed: BTreeSet<_> = refused.header("allow").split(',').map(|name| name.trim().to_owned()).collect();
            assert_eq!(allowed, methods, "{method} {path}");
        }
    }
}

async fn what_leads_to_no_route_must_be_counted(on: On) {
    let house = House::new(on).await;
    for _ in 0..2 {
        house.get("/v1/nowhere").await.ok(404);
    }
    house.send("DELETE", "/v1/tenants", &[], ()).await.ok(405);
    house.send("BREW", "/v1/tenants", &[], ()).await.ok(405);
    let Value::String(metrics) = house.get("/metrics").await.ok(200).body else { panic!("text") };
    for (method, status, times) in [("GET", 404, 2), ("DELETE", 405, 1), ("other", 405, 1)] {
        let line =
            format!("tenancy_http_requests_total{{method=\"{method}\",route=\"none\",status=\"{status}\"}} {times}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(!metrics.contains("nowhere") && !metrics.contains("BREW"));
}
