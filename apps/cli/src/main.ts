#!/usr/bin/env node
console.log('muster');
