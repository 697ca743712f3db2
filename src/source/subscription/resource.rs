//! The Subscription resource, in the shape of each release.
//!
//! # Source
//! - R4 Subscription: `criteria` is one search, so there is one Subscription a resource type.
//!   `channel.payload`: "If not present, then there is no payload in the notification, just a
//!   notification".
//! - Subscriptions R5 Backport IG, profile `backport-subscription` (R4 and R4B): `criteria` is the
//!   canonical URL of the topic; extensions `backport-payload-content`, `backport-heartbeat-period`,
//!   `backport-timeout`.
//! - R5 Subscription: `topic`, `channelType`, `parameter` (sent as headers), `heartbeatPeriod`, `content`.

use super::secret::HookSecret;
use crate::fhir::release::Release;
use crate::store::SubscriptionPayload;
use serde_json::{Value, json};

const IG: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";
/// Seconds within which we answer, and after which the server may count a delivery as failed.
const TIMEOUT_SECONDS: u32 = 10;
const REASON: &str = "trialbridge: keeps the data of a clinical trial up to date";

/// How the server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// R4 criteria. R4B still has them; R5 does not.
    RestHook,
    Topic(Release),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub shape: Shape,
    /// Criteria such as `Observation?`, or the canonical URL of a topic.
    pub watches: String,
    pub payload: SubscriptionPayload,
    pub endpoint: String,
    /// For topics.
    pub heartbeat_seconds: u32,
}

/// The endpoint of a Subscription below the public URL.
pub fn endpoint(public_url: &str, id: &str) -> String {
    format!("{}/hook/{id}", public_url.trim_end_matches('/'))
}

impl Order {
    /// The resource to be created. Holds the secret: it goes to the server and nowhere else.
    pub fn resource(&self, secret: &HookSecret) -> Value {
        let header = secret.header();
        match self.shape {
            Shape::RestHook => {
                let mut channel = json!({
                    "type": "rest-hook", "endpoint": self.endpoint,
                    "header": [format!("Authorization: {header}")]
                });
                if self.payload == SubscriptionPayload::Full {
                    channel["payload"] = json!("application/fhir+json");
                }
                json!({
                    "resourceType": "Subscription", "status": "requested", "reason": REASON,
                    "criteria": self.watches, "channel": channel
                })
            }
            Shape::Topic(Release::R4 | Release::R4B) => json!({
                "resourceType": "Subscription",
                "meta": {"profile": [format!("{IG}/backport-subscription")]},
                "status": "requested", "reason": REASON, "criteria": self.watches,
                "channel": {
                    "extension": [
                        {"url": format!("{IG}/backport-heartbeat-period"), "valueUnsignedInt": self.heartbeat_seconds},
                        {"url": format!("{IG}/backport-timeout"), "valueUnsignedInt": TIMEOUT_SECONDS}
                    ],
                    "type": "rest-hook", "endpoint": self.endpoint,
                    "payload": "application/fhir+json",
                    "_payload": {"extension": [
                        {"url": format!("{IG}/backport-payload-content"), "valueCode": self.content()}
                    ]},
                    "header": [format!("Authorization: {header}")]
                }
            }),
            Shape::Topic(Release::R5) => json!({
                "resourceType": "Subscription", "status": "requested", "reason": REASON,
                "topic": self.watches,
                "channelType": {
                    "system": "http://terminology.hl7.org/CodeSystem/subscription-channel-type",
                    "code": "rest-hook"
                },
                "endpoint": self.endpoint,
                "parameter": [{"name": "Authorization", "value": header}],
                "heartbeatPeriod": self.heartbeat_seconds, "timeout": TIMEOUT_SECONDS,
                "contentType": "application/fhir+json", "content": self.content()
            }),
        }
    }

    /// `backport-content-code-system`, in R5 `subscription-payload-content`.
    fn content(&self) -> &'static str {
        match self.payload {
            SubscriptionPayload::None => "empty",
            SubscriptionPayload::IdOnly => "id-only",
            SubscriptionPayload::Full => "full-resource",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(shape: Shape, payload: SubscriptionPayload) -> Value {
        let topic = matches!(shape, Shape::Topic(_));
        let watches = if topic { "http://example.org/topic" } else { "Observation?" };
        let endpoint = endpoint("https://trial.example/", "s1");
        let order = Order { shape, watches: watches.into(), payload, endpoint, heartbeat_seconds: 60 };
        order.resource(&HookSecret::new([7; 32]))
    }

    #[test]
    fn each_release_has_its_shape() {
        let bearer = format!("Bearer {}", "07".repeat(32));
        for payload in [SubscriptionPayload::None, SubscriptionPayload::Full] {
            let r4 = order(Shape::RestHook, payload);
            assert_eq!(r4["criteria"], "Observation?");
            assert_eq!(r4["channel"]["endpoint"], "https://trial.example/hook/s1");
            assert_eq!(r4["channel"]["header"], json!([format!("Authorization: {bearer}")]));
            let has_payload = payload == SubscriptionPayload::Full;
            assert_eq!(r4["channel"].get("payload").is_some(), has_payload, "absent: no payload");
        }
        for release in [Release::R4, Release::R4B, Release::R5] {
            for (payload, word) in [
                (SubscriptionPayload::None, "empty"),
                (SubscriptionPayload::IdOnly, "id-only"),
                (SubscriptionPayload::Full, "full-resource"),
            ] {
                let made = order(Shape::Topic(release), payload);
                let channel = &made["channel"];
                let (topic, content, heartbeat, header) = match release {
                    Release::R5 => (
                        &made["topic"],
                        &made["content"],
                        &made["heartbeatPeriod"],
                        made["parameter"][0]["value"].clone(),
                    ),
                    _ => (
                        &made["criteria"],
                        &channel["_payload"]["extension"][0]["valueCode"],
                        &channel["extension"][0]["valueUnsignedInt"],
                        json!(channel["header"][0].as_str().and_then(|h| h.strip_prefix("Authorization: "))),
                    ),
                };
                assert_eq!((topic, content), (&json!("http://example.org/topic"), &json!(word)), "{release}");
                assert_eq!((heartbeat, &header), (&json!(60), &json!(bearer)), "{release}");
                assert_eq!(made["status"], "requested");
            }
        }
    }
}
