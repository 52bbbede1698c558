//! What an engine is told of a new container.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointSettings, HostConfig, NetworkingConfig, PortBinding,
};

use super::super::effect::Effect;
use super::container::{self, Container};
use super::settings::{DockerFault, DockerSettings, Publish};
use super::template::Template;

/// The texts of the settings, read.
#[derive(Debug)]
pub(super) struct Texts {
    command: Vec<Template>,
    environment: Vec<(String, Template)>,
    labels: Vec<(String, Template)>,
}

impl Texts {
    pub(super) fn read(settings: &DockerSettings) -> Result<Self, DockerFault> {
        let read = |key: String, text: &str| {
            text.parse::<Template>().map_err(|error| DockerFault { key, why: error.to_string() })
        };
        let command = settings.command.iter().enumerate();
        let named = |key: &str, texts: &std::collections::BTreeMap<String, String>| {
            let texts = texts.iter();
            let read = texts.map(|(name, text)| Ok((name.clone(), read(format!("{key}.{name}"), text)?)));
            read.collect::<Result<Vec<_>, DockerFault>>()
        };
        Ok(Self {
            command: command.map(|(at, word)| read(format!("command[{at}]"), word)).collect::<Result<_, _>>()?,
            environment: named("environment", &settings.environment)?,
            labels: named("labels", &settings.labels)?,
        })
    }
}

/// The container of this effect; else why a text of the settings says nothing in it.
pub(super) fn body(
    settings: &DockerSettings,
    texts: &Texts,
    effect: &Effect,
    before: Option<&Container>,
) -> Result<ContainerCreateBody, String> {
    let command: Vec<String> = texts.command.iter().map(|word| word.fill(effect)).collect::<Result<_, _>>()?;
    let variable = |(name, value): &(String, Template)| Ok(format!("{name}={}", value.fill(effect)?));
    let environment: Vec<String> = texts.environment.iter().map(variable).collect::<Result<_, String>>()?;
    let mut labels = container::labels(effect, before);
    for (name, text) in &texts.labels {
        labels.insert(name.clone(), text.fill(effect)?);
    }
    let port = format!("{}/tcp", settings.port);
    Ok(ContainerCreateBody {
        image: Some(settings.image.clone()),
        cmd: (!command.is_empty()).then_some(command),
        env: Some(environment),
        labels: Some(labels),
        exposed_ports: Some(vec![port.clone()]),
        host_config: Some(host_config(settings, port)),
        // Engines of before take one network here; the others are joined before the start.
        networking_config: settings.networks.first().map(|network| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network.clone(), EndpointSettings::default())])),
        }),
        ..ContainerCreateBody::default()
    })
}

/// It has no restart policy: whether a node that ends is started again, and where, is for the cluster to decide.
fn host_config(settings: &DockerSettings, port: String) -> HostConfig {
    let devices = settings.devices.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.clone()),
        path_in_container: Some(device.clone()),
        cgroup_permissions: Some("rwm".to_owned()),
    });
    HostConfig {
        // `faults` lets no more through than fits.
        memory: settings.memory_max_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        devices: Some(devices.collect()),
        cap_add: Some(settings.capabilities.clone()),
        network_mode: settings.networks.first().cloned(),
        port_bindings: match settings.publish {
            Publish::Nowhere => None,
            Publish::At(ip) => Some(HashMap::from([(port, Some(vec![any_port(ip)]))])),
        },
        ..HostConfig::default()
    }
}

/// A port that the engine finds free.
fn any_port(ip: IpAddr) -> PortBinding {
    PortBinding { host_ip: Some(ip.to_string()), host_port: Some(String::new()) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{effect, server};
    use super::*;
    use crate::driver::effect::Action;

    #[test]
    fn a_new_container_says_whose_it_is_and_what_stood_there_before() {
        let mut settings = DockerSettings::of_image("exit-node:1", 8000);
        settings.command = vec!["--name".into(), "{node}".into()];
        settings.environment.insert("VPN".into(), "{server.host}".into());
        settings.labels.insert("team".into(), "{pool}".into());
        settings.networks = vec!["vpn".into(), "metrics".into()];
        settings.publish = Publish::At("127.0.0.1".parse().unwrap());
        settings.devices = vec!["/dev/net/tun".into()];
        settings.capabilities = vec!["NET_ADMIN".into()];
        settings.memory_max_bytes = Some(64 << 20);
        let mut effect = effect(Action::Switch, 42);
        effect.to = Some(server("vpn-3", "10.0.0.3:51820", &[]));
        let texts = Texts::read(&settings).unwrap();
        let body = body(&settings, &texts, &effect, None).unwrap();
        let body = serde_json::to_value(&body).unwrap();
        let expected = serde_json::json!({
            "Image": "exit-node:1",
            "Cmd": ["--name", "us-1"],
            "Env": ["VPN=10.0.0.3"],
            "ExposedPorts": {"8000/tcp": {}},
            "Labels": {
                "team": "exits",
                "evenkeel.node": "us-1",
                "evenkeel.intent": "i42",
                "evenkeel.before": "",
                "evenkeel.term": "3",
                "evenkeel.pool": "exits",
                "evenkeel.region": "us",
                "evenkeel.server": "vpn-3",
            },
            "HostConfig": {
                "Memory": 67_108_864,
                "Devices": [{"PathOnHost": "/dev/net/tun", "PathInContainer": "/dev/net/tun", "CgroupPermissions": "rwm"}],
                "CapAdd": ["NET_ADMIN"],
                "NetworkMode": "vpn",
                "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            },
            "NetworkingConfig": {"EndpointsConfig": {"vpn": {}}},
        });
        assert_eq!(body, expected);
    }
}
