mod caches;
mod dpop;
mod fixture;
mod introspection;
mod tokens;
