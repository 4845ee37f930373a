/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Ids of the messages that a person may have to act on: MESSAGE_ID= in the journal. The entry for each
 * in conf/catalog/ublkd.catalog is what "journalctl -x" shows; tests/lint/catalog holds the two and the
 * uses together. An id stays what it is for ever: people search for it.
 */

/* the device is there, and is served */
#define MESSAGE_READY                    "f50229db50db4f5ea81c61eafca65fce"
/* a stop waits for those who use the device */
#define MESSAGE_IN_USE_AT_STOP           "cd1a81d1f3a041efa5383381cc2323ca"
/* a new server goes on with a device in use */
#define MESSAGE_TAKEN_OVER               "8e2074ad3fd148798a4d20635eca4a6e"
/* the server before is still ending */
#define MESSAGE_TAKEOVER_WAITS           "9b2b55130b7946fc81120c1df62fb283"
/* the server before does not end */
#define MESSAGE_TAKEOVER_BLOCKED         "2baf86dbd20b436a85247a7551f7daea"
/* the definition has changed, and a device in use cannot */
#define MESSAGE_DEFINITION_NEEDS_STOP    "4c107e222b2b41b3a5d2b46db20b217b"
/* the kernel cannot repeat a takeover */
#define MESSAGE_TAKEOVER_IMPOSSIBLE      "135ce5de60f142a5bf05dca2a33c85b3"
/* the definition in force is damaged */
#define MESSAGE_DEFINITION_LOST          "14217fcd28d040dfbc57247cf0018cdf"
/* what lies behind the device does not fit it any more */
#define MESSAGE_BACKING_CHANGED          "50607b1ce58140e08b800b2fcf9e9dc6"
/* restarting was given up, the device is kept */
#define MESSAGE_GIVEN_UP                 "bcdcd92e24144f13bf36a22f7621fb54"
/* a device without a server was removed */
#define MESSAGE_REMOVED                  "d0bcb42646d040499a3e5ccfe84645b4"
/* what a dead server left is in the way */
#define MESSAGE_LEFT_OVER_REMOVED        "887bff1610a5453b956a63e30b3f56bb"
/* what a dead server left is still open somewhere */
#define MESSAGE_LEFT_OVER_HELD           "8e1fca347a25424cae48fe70697d8602"
/* another process has the name */
#define MESSAGE_SERVED_TWICE             "662c3c7655c94e5884ce723952ddb131"
/* requests fail at the backend */
#define MESSAGE_REQUESTS_FAILED          "fa394e74527a4685af3b47997717afbc"
/* requests are with the backend for long */
#define MESSAGE_REQUESTS_SLOW            "3b218466e6404a1b83a5c8047bb7f890"
/* no request is slow any more */
#define MESSAGE_REQUESTS_FAST_AGAIN      "7785bfa8b4b547cebf114bbcf16e6fcd"
/* a queue has ended */
#define MESSAGE_QUEUE_FAILED             "6a6c30cdfd1c45518f173e74d2246fc7"
/* somebody else removed the device */
#define MESSAGE_TAKEN_AWAY               "189a0ee8f276421093c00ea5d402e085"
/* a thread does not turn */
#define MESSAGE_THREAD_HANGS             "67cb1f97aa964e3d8416f7175a142007"
/* there is no ublk driver */
#define MESSAGE_DRIVER_MISSING           "3f983cefc43b4076a72bfd4a2ee1dcd6"
/* io_uring is not allowed */
#define MESSAGE_IO_URING_REFUSED         "2f7052dfd555463886d63c44e66c890d"
/* ublks_max is reached */
#define MESSAGE_NO_MORE_DEVICES          "82dbab8c11ab441997cde0392dfa7577"
/* the process may not make devices */
#define MESSAGE_NOT_PERMITTED            "23de20e0ddaa4e68ae99f940149889a0"
/* the definition asks for what the kernel has not */
#define MESSAGE_KERNEL_LACKS             "a50cab8749ee459c8dc92b75480896bf"
/* udev has made no link */
#define MESSAGE_NO_NAME                  "4b01be97d384455688e3cb95c86ba894"
/* the device lies on purpose */
#define MESSAGE_FAULTS_INJECTED          "c96477bb7c594d68b3f3665c53fe8a4d"
/* a file has errors */
#define MESSAGE_DEFINITION_BAD           "0279d32158954e2b9482c57ccdf0f104"
/* going on with the old definition */
#define MESSAGE_OLD_DEFINITION           "8de33b85552b4098858a7d7ccc292c97"
/* the unit does not know the definition */
#define MESSAGE_SANDBOX_IS_OLD           "4e5ab1bd3fdc40588111491acd90d0e5"
/* the backing cannot be opened */
#define MESSAGE_BACKING_FAILED           "c1b5f72eee734c45909377da88c1490b"
/* the backing is open elsewhere */
#define MESSAGE_BACKING_IN_USE           "8adc1bebf7044c34ad836dc7496afb79"
/* a reload has come to an end */
#define MESSAGE_RELOADED                 "ae5222f494a7482a80fafc41057d991a"
/* a reload was refused */
#define MESSAGE_RELOAD_FAILED            "55fb7bcac7b94061b622411b5cee2fb2"
/* the manager goes on without a device */
#define MESSAGE_NOT_WAITED_FOR           "609c5f4b81374dd8ba06e210778a50a8"
/* the journal was not fast enough */
#define MESSAGE_MESSAGES_LOST            "88b0ffaa690d407bbb467ab0dbda0b38"
/* a stopped server is in the way of the shutdown */
#define MESSAGE_STOPPED_SERVER_CONTINUED "6d340a8beb404feca3e0ddecfbb42b99"
/* those who use a device do not let go */
#define MESSAGE_SHUTDOWN_GAVE_UP         "aed60910115a4da9abf79ff334914384"
/* what lies behind is out of reach */
#define MESSAGE_BACKING_UNREACHABLE      "d1aa55ecb4a1448ea2c3852a263de3ef"
/* and is there again */
#define MESSAGE_BACKING_IS_BACK          "6b8db7d6151b4c4d8d0371d8638e9641"
