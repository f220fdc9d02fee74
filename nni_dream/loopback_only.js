// Loaded into NNI's manager before its own code (NODE_OPTIONS=--require): its web server, which NNI lets listen on all
// addresses and without a login, listens on this machine's loopback address.
'use strict';

const net = require('net');

const LOOPBACK = '127.0.0.1';

// What the manager starts, dispatcher and trials, gets the environment that it would have without us.
if (process.env.NNI_DREAM_NODE_OPTIONS) {
    process.env.NODE_OPTIONS = process.env.NNI_DREAM_NODE_OPTIONS;
} else {
    delete process.env.NODE_OPTIONS;
}
delete process.env.NNI_DREAM_NODE_OPTIONS;

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...others) {
    const isPort = typeof port === 'number';
    return isPort && typeof others[0] !== 'string'
        ? listen.call(this, port, LOOPBACK, ...others)
        : listen.call(this, port, ...others);
};
