mod collector;
