
mod collector;
