mod credentials;
mod deciding;
mod findings;
mod properties;
