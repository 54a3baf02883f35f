// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ERC2771Forwarder} from "@openzeppelin/contracts/metatx/ERC2771Forwarder.sol";

/// Carries what an account has signed (EIP-712 ForwardRequest: nonce, deadline, gas, value) to Muster's contracts. Whoever calls it pays
/// the gas and sends the value; the contract called sees the account that signed.
contract MusterForwarder is ERC2771Forwarder {
    constructor() ERC2771Forwarder("Muster") {}
}
