mod deciding;
mod findings;
mod properties;
