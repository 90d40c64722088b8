//! Keys of somebody at Amazon, and the password that a registry's API gives for them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::world::World;

/// Somebody's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    pub id: String,
    pub secret: String,
    /// What keys of a role have besides.
    pub session: Option<String>,
    /// What the registry is to be shown in the end.
    pub password: String,
}

impl Keys {
    /// Keys of a role, that end.
    pub fn of_role(world: &World, who: &str) -> Self {
        let session = Some(world.secret(&format!("IQoJ+b3Jp/of=={who}/SessionSessionSession")));
        Self { session, id: format!("ASIA{}", id(who)), ..Self::of_user(world, who) }
    }

    /// Keys of a user, that stay.
    pub fn of_user(world: &World, who: &str) -> Self {
        let keys = Self {
            id: format!("AKIA{}", id(who)),
            secret: world.secret(&format!("wJalr/XUtn+FEMI/of/{who}/0123456789")),
            session: None,
            password: world.secret(&format!("password-of-{who}-eyJwYXlsb2FkIjoi")),
        };
        world.secret(&keys.token());
        keys
    }

    /// The password as an API gives it.
    pub fn token(&self) -> String {
        STANDARD.encode(format!("AWS:{}", self.password))
    }
}

fn id(who: &str) -> String {
    who.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_uppercase())).collect()
}
